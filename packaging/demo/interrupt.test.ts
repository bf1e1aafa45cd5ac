/** Ctrl-C at any moment of a demo leaves no process and no file behind. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../shared/runtime/clock.ts";
import { systemRandom } from "../../shared/runtime/random.ts";
import { runningFrom } from "./leftovers.ts";

const ENTRY = new URL("../prestage.mjs", import.meta.url).pathname;
const random = systemRandom();

describe("demo, interrupted", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "prestage-int-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test.each([
    ["SIGINT", 130, "while it writes its files", random.next() * 1_000],
    ["SIGTERM", 143, "while its processes start", 1_000 + random.next() * 4_000],
    ["SIGINT", 130, "while it plays", 13_000 + random.next() * 4_000],
  ] as const)("ends by %s with %d and leaves nothing (%s, %d ms)", async (signal, exit, _, ms) => {
    const args = [ENTRY, "demo", "--workloads", "6", "--duration", "10"];
    const demo = spawn(process.execPath, args, {
      env: { ...process.env, TMPDIR: folder },
      stdio: "ignore",
    });
    await systemClock.sleep(ms);
    expect(demo.exitCode).toBeNull();
    demo.kill(signal);
    const [code, by] = await once(demo, "exit");
    // Before its first line has run the system ends it; a shell tells both alike.
    expect(ms < 1_000 && by === signal ? exit : code).toBe(exit);
    expect(await readdir(folder)).toEqual([]);
    expect(await runningFrom(folder)).toEqual([]);
  });
});

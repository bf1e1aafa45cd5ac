import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLog } from "../../../shared/runtime/log.ts";
import { SimulatedClock } from "../../../test/support/clock.ts";
import { risingStart } from "./starts.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prestage-starts-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));
const startAt = (nowMs: number) =>
  risingStart(dir, { clock: new SimulatedClock(nowMs), log: silentLog });

test("starts: each is later than the one before (clock set back, then right again)", async () => {
  expect(await startAt(1_000)).toBe(1_000);
  expect(await startAt(7)).toBe(1_001);
  expect(await startAt(7)).toBe(1_002);
  expect(await startAt(5_000)).toBe(5_000);
});

test("starts: a torn file is as good as none", async () => {
  await writeFile(join(dir, "started"), "12\0\0");
  expect(await startAt(1_000)).toBe(1_000);
});

/** `prestage import` of files against a real coordinator. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ImportResult } from "../../coordinator/cli/import.ts";
import { Store } from "../../coordinator/store/store.ts";
import { Daemons, ENTRY } from "../support/daemons.ts";

let folder: string;
const daemons = new Daemons();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prestage-e2e-import-"));
  daemons.folder = folder;
  await daemons.startCoordinator();
  const environment = { command: ["true"] };
  const workloads = [
    {
      name: "shop",
      match: { pathPrefix: "/shop" },
      category: { from: "path", segment: 1, default: "none" },
      environment,
    },
    { name: "video", match: { host: "video.example" }, environment },
  ];
  await daemons.json(["apply", "-f", "-"], JSON.stringify({ workloads }));
}, 90_000);

afterAll(async () => {
  await daemons.stop();
  await rm(folder, { recursive: true, force: true });
}, 60_000);

const START_MS = Date.now() - 6 * 3_600_000;

/** Line `i` of a log, one each second: two categories, and one request in 100 nobody's. */
function line(i: number): string {
  const [date = "", time = ""] = new Date(START_MS + i * 1000).toISOString().split(/[T.]/);
  const [year, month, day] = date.split("-");
  const name = "JanFebMarAprMayJunJulAugSepOctNovDec".slice(Number(month) * 3 - 3).slice(0, 3);
  const path = i % 100 === 0 ? "/favicon.ico" : `/shop/${i % 2 === 0 ? "red" : "blue"}/${i}`;
  const client = `10.0.0.${i % 200}`;
  return `${client} - - [${day}/${name}/${year}:${time} +0000] "GET ${path} HTTP/1.1" 200 ${i}`;
}
const log = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `${line(from + i)}\n`).join("");

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}
const importing = (...args: string[]) => daemons.json<ImportResult>(["import", ...args]);

describe("import of files", () => {
  test("a dry run shows series, span, bad and nobody's lines, and sends nothing", async () => {
    const path = await file("dry.log", `${log(0, 1000)}garbage\n`);
    const shown = (await daemons.run(["import", "--dry-run", path])).stdout;
    expect(shown).toContain("990 requests of 1,001 lines would be imported");
    expect(shown).toMatch(/2 categories:\n +shop\/blue +500\n +shop\/red +490/);
    expect(shown).toContain("line 1001: not in common or combined log format");
    expect(shown).toMatch(/10 requests are no declared workload's, for example:\n +\/favicon.ico/);
    const first = await importing(path);
    expect(first.imported).toMatchObject({ duplicate: false, replaced: { requests: 0 } });
    expect(first.series).toEqual([
      { workload: "shop", category: "blue", requests: 500 },
      { workload: "shop", category: "red", requests: 490 },
    ]);
  });

  test("again, packed and renamed, or grown: counted once", async () => {
    const again = await importing(
      await file("renamed.log.1.gz", gzipSync(`${log(0, 1000)}garbage\n`)),
    );
    expect(again.imported).toMatchObject({ duplicate: true, requests: 0 });
    const grown = await importing(await file("grown.zst", zstdCompressSync(log(0, 2000))));
    expect(grown.imported).toMatchObject({
      requests: 1980,
      duplicate: false,
      replaced: { requests: 990 },
    });
    const text = (await daemons.run(["import", join(folder, "grown.zst")])).stdout;
    expect(text).toContain("imported before, nothing changed");
  });

  test("several files and a pattern: each what follows the other adds", async () => {
    await file("rotated-1.log", log(2000, 3000));
    await file("rotated-2.log", log(3000, 3010));
    const both = await daemons.json<{ inputs: ImportResult[] }>([
      "import",
      join(folder, "rotated-*.log"),
    ]);
    expect(both.inputs.map(({ requests }) => requests)).toEqual([990, 9]);
    const twice = await file("copy.log", log(2000, 3000));
    const refused = await daemons.run(["import", join(folder, "rotated-1.log"), twice]);
    expect([refused.exit, refused.errors]).toEqual([5, expect.stringContaining("--source")]);
  });

  test("overlapping exports of one named source: counted once, cut minutes are not lost", async () => {
    const name = ["--source", "export", "--workload", "video"];
    const all = await daemons.json<ImportResult>(["import", ...name, "-"], log(4000, 5000));
    expect(all.imported?.requests).toBe(1000);
    const again = await daemons.json<ImportResult>(["import", ...name, "-"], log(4130, 4890));
    const { requests = 0, replaced } = again.imported ?? {};
    expect(requests).toBe(replaced?.requests);
    const on = await daemons.json<ImportResult>(["import", ...name, "-"], log(4500, 5500));
    expect((on.imported?.requests ?? 0) - (on.imported?.replaced.requests ?? 0)).toBe(500);
  });

  test("a file that ends early: what was readable is imported, and the byte is named", async () => {
    const packed = gzipSync(log(6000, 16_000));
    const path = await file("cut.log.gz", packed.subarray(0, packed.length / 2));
    const cut = await daemons.run(["import", path]);
    expect(cut.exit).toBe(9);
    const byte = Math.floor(packed.length / 2);
    expect(cut.errors).toContain(`ends early: after byte ${byte}`);
    const requests = Number(/; (\d+) requests before it were imported/.exec(cut.errors)?.[1]);
    expect(requests).toBeGreaterThan(3000);
    const whole = await importing(await file("whole.log.gz", packed));
    expect(whole.imported).toMatchObject({ requests: 9900, replaced: { requests } });
  });

  test("what cannot be is refused with what to do (no file, no rule, format, option)", async () => {
    const say = async (...args: string[]) => {
      const { exit, errors } = await daemons.run(["import", ...args]);
      return { exit, errors };
    };
    expect(await say("absent.log")).toMatchObject({ exit: 2 });
    expect(await say(join(folder, "absent-*.log"))).toMatchObject({ exit: 2 });
    expect(await say(await file("page.html", "<html>\n</html>\n"))).toMatchObject({
      exit: 2,
      errors: expect.stringContaining("--format"),
    });
    const strange = log(0, 2000).replaceAll("/shop", "/elsewhere");
    expect(await say(await file("strange.log", strange))).toMatchObject({
      exit: 2,
      errors: expect.stringContaining("none of its requests is a declared workload's"),
    });
    expect(await say("--time-zone", "Mars/Base", await file("z.csv", "timestamp\n"))).toMatchObject(
      {
        exit: 2,
        errors: expect.stringContaining("Europe/Berlin"),
      },
    );
    expect(await say()).toMatchObject({ exit: 2, errors: expect.stringContaining("--prometheus") });
  });

  test("killed in the middle and run again: as if it had run once", async () => {
    const args = [ENTRY, "import", "--source", "killed", "--format", "log", "-"];
    const env = { ...process.env, PRESTAGE_CONTEXT: daemons.context };
    const child = spawn(process.execPath, args, { env, stdio: ["pipe", "ignore", "inherit"] });
    const rows = (n: number) =>
      Array.from({ length: n }, (_, i) =>
        JSON.stringify({ time: START_MS / 1000 + i, workload: "video", category: `c${i}` }),
      ).join("\n");
    child.stdin.on("error", () => undefined); // it is killed while it reads
    child.stdin.write(rows(50_000));
    await untilStaged();
    child.kill("SIGKILL");
    await once(child, "exit");
    const again = await daemons.json<ImportResult>(
      ["import", "--source", "killed", "--format", "log", "-"],
      rows(30_000),
    );
    expect(again.imported).toMatchObject({ requests: 30_000, replaced: { requests: 0 } });
  }, 60_000);

  test("all is there after a restart, and nothing twice", async () => {
    await daemons.stop();
    const store = Store.open(daemons.dataDir("coordinator"));
    const totals = new Map<string, number>();
    for (const bin of store.demand.bins({ fromMs: 0, toMs: Number.MAX_SAFE_INTEGER })) {
      const { workload, count } = bin;
      totals.set(workload, (totals.get(workload) ?? 0) + count);
      expect(bin.host).toBe("imported");
    }
    store.close();
    expect(Object.fromEntries(totals)).toEqual({
      shop: 1980 + 990 + 9 + 9900,
      video: 1500 + 30_000,
    });
  }, 60_000);
});

async function untilStaged(): Promise<void> {
  for (let i = 0; i < 600; i++) {
    const { rows } = await daemons.json<{ rows: { action: string; object: string }[] }>(["audit"]);
    if (rows.some((r) => r.action === "history.stage" && r.object.startsWith("named:killed#1")))
      return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("no part was staged");
}

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CategoryName, Name } from "../../shared/domain.ts";
import { readTrace, type TraceOptions, type TraceRow } from "./import.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "prestage-import-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function read(source: string | Readable, options: TraceOptions = {}) {
  const reader = readTrace(source, options);
  const rows: TraceRow[] = [];
  for await (const row of reader) rows.push(row);
  return { rows, report: reader.report };
}
const text = (lines: string[], options: TraceOptions = {}) =>
  read(Readable.from([`${lines.join("\n")}\n`]), options);

test("import: CSV columns are found by name (another order, optional ones missing)", async () => {
  const { rows, report } = await text([
    "Workload,timestamp,count",
    "maps,2024-03-01T00:00:00Z,3",
    "maps,1709251260,",
    'maps,1709251320000,"2"',
  ]);
  expect(report).toMatchObject({ format: "csv", rows: 3, badLines: 0 });
  expect(rows.map((row) => row.timestampMs)).toEqual([1709251200000, 1709251260000, 1709251320000]);
  expect(rows.map((row) => row.count)).toEqual([3, 1, 2]);
  expect(rows[0]).toMatchObject({ workload: "maps", category: "default", origin: "" });
});

test("import: CSV without a header has the documented order", async () => {
  const { rows } = await text(["100,shop,eu west,edge-1,4"]);
  expect(rows).toEqual([
    { timestampMs: 100_000, workload: "shop", category: "eu-west", origin: "edge-1", count: 4 },
  ]);
});

test("import: bad lines are counted and named, the rest is read (time, count, quote)", async () => {
  const { rows, report } = await text([
    "timestamp,workload,category,origin,count",
    "100,a,c,o,1",
    "yesterday,a,c,o,1",
    "160,a,c,o,-3",
    '220,a"b,c,o,1',
    "280,a,c,o,0",
    "340,a,c,o,2",
  ]);
  expect(rows.map((row) => row.timestampMs)).toEqual([100_000, 340_000]);
  expect(report.badLines).toBe(3);
  expect(report.examples.map((example) => example.line)).toEqual([3, 4, 5]);
  expect(report.examples[0]?.problem).toContain("yesterday");
});

test("import: the wide format gives a row per minute with invocations", async () => {
  const header = "HashOwner,HashApp,HashFunction,Trigger,480,481,482";
  const { rows, report } = await text(
    [header, "o,a,0951ccc96b77aa,timer,0,2,1", "o,a,0951ccc96b88bb,http,5,0,0", "o,a,ff,http,1"],
    { dayStartMs: 0 },
  );
  expect(report).toMatchObject({ format: "azure", badLines: 1, rows: 3 });
  expect(report.examples[0]?.line).toBe(4);
  expect(rows).toEqual([
    {
      timestampMs: 481 * 60_000,
      workload: "fn-0951ccc96b",
      category: "default",
      origin: "",
      count: 2,
    },
    {
      timestampMs: 482 * 60_000,
      workload: "fn-0951ccc96b",
      category: "default",
      origin: "",
      count: 1,
    },
    {
      timestampMs: 480 * 60_000,
      workload: "fn-0951ccc96b88bb",
      category: "default",
      origin: "",
      count: 5,
    },
  ]);
});

test("import: access logs name workload and category (common, combined, virtual host, JSON)", async () => {
  const { rows, report } = await text([
    '10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /shop/cart/1?x=/y HTTP/1.1" 200 20',
    '10.0.0.1 - bob [17/May/2015:12:05:03 +0200] "GET / HTTP/1.1" 200 20 "-" "Mozilla"',
    'maps.example:443 10.0.0.2 - - [17/May/2015:10:05:03 +0000] "GET /tiles/7 HTTP/2.0" 200 1',
    '{"time":"2015-05-17T10:05:03Z","host":"maps.example","uri":"/tiles/8","remote_addr":"10.0.0.3"}',
    "garbage",
    '10.0.0.1 - - [17/Mai/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 20',
    "{not json",
  ]);
  expect(report).toMatchObject({ format: "log", lines: 7, badLines: 3 });
  expect(new Set(rows.map((row) => row.timestampMs))).toEqual(new Set([1431857103000]));
  expect(rows.map(({ workload, category, origin }) => [workload, category, origin])).toEqual([
    ["shop", "cart", "10.0.0.1"],
    ["root", "default", "10.0.0.1"],
    ["maps.example", "tiles", "10.0.0.2"],
    ["maps.example", "tiles", "10.0.0.3"],
  ]);
});

test("import: packed files are unpacked by their extension (gz, zst)", async () => {
  const csv = "timestamp,workload\n60,a\n";
  await writeFile(join(dir, "x.csv.gz"), gzipSync(csv));
  await writeFile(join(dir, "x.csv.zst"), zstdCompressSync(csv));
  for (const name of ["x.csv.gz", "x.csv.zst"]) {
    const { rows } = await read(join(dir, name));
    expect(rows).toMatchObject([{ timestampMs: 60_000, workload: "a" }]);
  }
});

test("import: a workload column that is missing is replaced by the file's name", async () => {
  await writeFile(join(dir, "Taxi.csv"), "timestamp,value\n2014-07-01 00:00:00,10844\n");
  const { rows } = await read(join(dir, "Taxi.csv"));
  expect(rows).toMatchObject([{ workload: "taxi", count: 10844, timestampMs: 1404172800000 }]);
});

test("import: failures have codes (no file, cut file, unknown format)", async () => {
  await expect(read(join(dir, "absent.csv"))).rejects.toMatchObject({ code: "NOT_FOUND" });
  const cut = gzipSync("timestamp,workload\n60,a\n".repeat(1000)).subarray(0, 40);
  await writeFile(join(dir, "cut.csv.gz"), cut);
  await expect(read(join(dir, "cut.csv.gz"))).rejects.toMatchObject({ code: "CORRUPT" });
  await expect(text(["<html>", "</html>"])).rejects.toMatchObject({ code: "USAGE" });
});

test("import: nothing comes from an empty file, and an abort ends the reading", async () => {
  expect((await text([""])).report).toMatchObject({ format: null, rows: 0 });
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(text(["timestamp", "1"], { signal })).rejects.toThrow("enough");
});

test("import: chunk borders do not matter (a file cut anywhere)", async () => {
  const whole = 'timestamp,workload,category\n60,"a",x\r\n120,b,y\n180,ü,z';
  const expected = await read(Readable.from([whole]));
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 12 }), async (size) => {
      const bytes = Buffer.from(whole);
      const parts = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, (i + 1) * size),
      );
      expect(await read(Readable.from(parts))).toEqual(expected);
    }),
  );
});

test("import: every row is valid demand (hostile names)", async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ maxLength: 200 }), fc.string({ maxLength: 200 }), async (w, c) => {
      const quote = (value: string) => `"${value.replaceAll('"', '""')}"`;
      const { rows } = await text(["timestamp,workload,category", `1,${quote(w)},${quote(c)}`]);
      for (const row of rows) {
        expect(Name.safeParse(row.workload).success).toBe(true);
        expect(CategoryName.safeParse(row.category).success).toBe(true);
      }
    }),
  );
});

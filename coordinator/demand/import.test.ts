import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CategoryName, Name } from "../../shared/domain.ts";
import { readTrace, type TraceOptions, type TraceRow } from "./import.ts";
import { wallClock } from "./timestamp.ts";

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

test("import: a stray quote costs its line, not the rest of the file", async () => {
  const { rows, report } = await text([
    "timestamp,workload,category",
    '60,"a,x',
    '120,"b","y, z"',
    "180,c,w",
  ]);
  expect(rows.map(({ workload, category }) => [workload, category])).toEqual([
    ["b", "y,-z"],
    ["c", "w"],
  ]);
  expect(report.examples).toEqual([{ line: 2, problem: "not CSV: quotes that do not pair" }]);
});

test("import: times that clocks make up are bad lines (1970, 2100, no such day)", async () => {
  const bounds = { fromMs: Date.UTC(2000, 0), toMs: Date.UTC(2030, 0) };
  const line = (time: string) => `10.0.0.1 - - [${time}] "GET /shop HTTP/1.1" 200 1`;
  const { rows, report } = await text(
    [
      line("17/May/2015:10:05:03 +0000"),
      line("01/Jan/1970:00:00:07 +0000"),
      line("01/Jan/2100:00:00:00 +0000"),
      line("31/Feb/2015:10:05:03 +0000"),
      line("17/May/2015:25:05:03 +0000"),
      '{"time":"2100-01-01T00:00:00Z","uri":"/shop"}',
    ],
    { bounds },
  );
  expect(rows).toHaveLength(1);
  expect(report.badLines).toBe(5);
  expect(report.examples.map(({ problem }) => problem)).toEqual([
    "no plausible time: 1970-01-01T00:00:07.000Z",
    "a time to come: 2100-01-01T00:00:00.000Z",
    "not a time: 31/Feb/2015:10:05:03 +0000",
    "not a time: 17/May/2015:25:05:03 +0000",
    "a time to come: 2100-01-01T00:00:00.000Z",
  ]);
});

test("import: lines out of order, of other zones and of local time meet in UTC", async () => {
  const { rows } = await text(
    [
      "timestamp,workload",
      "2024-07-01 14:00:00,a",
      "2024-01-01T13:00:00,b",
      "2024-07-01T12:00:00Z,c",
      "2024-07-01T05:00:00-0700,d",
    ],
    { unzoned: wallClock("Europe/Berlin") },
  );
  const noon = (month: number) => Date.UTC(2024, month, 1, 12);
  expect(rows.map((row) => row.timestampMs)).toEqual([noon(6), noon(0), noon(6), noon(6)]);
});

test("import: a log that begins in the middle of a line is still one", async () => {
  const good = '10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /shop/cart HTTP/1.1" 200 20';
  const { rows, report } = await text(['/1.1" 200 20', good]);
  expect([rows.length, report.badLines, report.format]).toEqual([1, 1, "log"]);
  await expect(text(Array(30).fill("<p>"))).rejects.toMatchObject({
    details: { firstLine: "<p>" },
  });
});

test("import: names that are given go before all others (log, CSV)", async () => {
  const fixed = { workload: "w", category: "c" };
  const log = ['10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /shop/cart HTTP/1.1" 200 20'];
  for (const lines of [log, ["timestamp,workload,category", "60,a,x"]])
    expect((await text(lines, fixed)).rows).toMatchObject([fixed]);
});

test("import: requests that no rule is for are counted, the first shown", async () => {
  const line = (url: string) => `{"time":60,"uri":"${url}","count":2}`;
  const { rows, report } = await text([line("/a"), line("/b"), line("/b"), line("/c")], {
    naming: ({ url }) => (url === "/a" ? { workload: "a", category: "x" } : null),
  });
  expect(rows).toHaveLength(1);
  expect(report).toMatchObject({ unmatched: 6, unmatchedExamples: ["/b", "/c"], badLines: 0 });
});

test("import: a recording is known again when it has grown, moved or been packed", async () => {
  const lines = (n: number, what = "a") =>
    Array.from({ length: n }, (_, i) => `${60 * i},${what}`).join("\n");
  const csv = (n: number, what?: string) => `timestamp,workload\n${lines(n, what)}\n`;
  const known = async (name: string, content: string | Uint8Array) => {
    await writeFile(join(dir, name), content);
    return (await read(join(dir, name))).report.fingerprint;
  };
  const first = await known("first.csv", csv(20));
  expect(first).toMatch(/^[0-9a-f]{64}$/);
  expect(await known("grown.csv", csv(500))).toBe(first);
  expect(await known("packed.gz", gzipSync(csv(20)))).toBe(first);
  const reader = readTrace(join(dir, "grown.csv"));
  for await (const _ of reader) {
    // Parts are sent under this name long before the end.
    expect(reader.report.fingerprint).toBe(first);
    break;
  }
  expect(await known("other.csv", csv(20, "b"))).not.toBe(first);
  expect(await known("short.csv", csv(3))).not.toBe(first);
  const nameless = (name: string) => known(name, "timestamp,count\n60,0\n120,0\n");
  expect(await nameless("x.csv")).not.toBe(await nameless("y.csv"));
});

test("import: what a cut file gave before the cut comes first (whole lines only)", async () => {
  const packed = gzipSync(
    Array.from({ length: 5000 }, (_, i) => `${60 * i},shop,c${(i * 7919) % 977},h,77\n`).join(""),
  );
  await writeFile(join(dir, "half.gz"), packed.subarray(0, packed.length / 2));
  const reader = readTrace(join(dir, "half.gz"));
  const rows: TraceRow[] = [];
  const reading = (async () => {
    for await (const row of reader) rows.push(row);
  })();
  await expect(reading).rejects.toMatchObject({
    code: "CORRUPT",
    message: expect.stringMatching(/half.gz ends early: after byte \d+/),
  });
  expect(rows.length).toBeGreaterThan(500);
  expect(rows.every(({ count, category }) => count === 77 && /^c\d+$/.test(category))).toBe(true);
  expect(reader.report).toMatchObject({ badLines: 0, lines: rows.length });
});

test("import: a file of the published Azure trace is of the day in its name", async () => {
  const day = async (name: string) => {
    await writeFile(join(dir, name), "HashOwner,HashApp,HashFunction,Trigger,1,2\no,a,f,t,1,0\n");
    return (await read(join(dir, name))).rows[0]?.timestampMs;
  };
  expect(await day("invocations_per_function_md.anon.d03.csv")).toBe(Date.UTC(2019, 6, 17, 0, 1));
  expect(await day("invocations.csv")).toBe(Date.UTC(2019, 6, 15, 0, 1));
});

const LOGS = [
  ...Array.from({ length: 30 }, (_, i) => {
    const second = String(i % 60).padStart(2, "0");
    return `10.0.0.${i} - - [17/May/2015:10:05:${second} +0000] "GET /shop/c${i % 3}?q=ü HTTP/1.1" 200 5`;
  }),
  "garbage",
  "",
  '{"ts":1431857103.5,"request":{"host":"maps.example","uri":"/tiles/8"}}',
].join("\n");

test.each([
  ["plain", Buffer.from(LOGS)],
  ["gz", gzipSync(LOGS)],
  ["zst", zstdCompressSync(LOGS)],
  ["UTF-16", Buffer.from(`\uFEFF${LOGS}`, "utf16le")],
])("import: chunk borders do not matter (a log, %s)", async (_, bytes) => {
  const whole = await read(Readable.from([bytes]));
  expect(whole.report).toMatchObject({ rows: 31, badLines: 1 });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 20 }), async (cuts) => {
      const ends = [...new Set([...cuts, bytes.length])].sort((a, b) => a - b);
      let from = 0;
      const parts = ends.map((end) => {
        const part = bytes.subarray(from, end);
        from = end;
        return part;
      });
      expect(await read(Readable.from(parts))).toEqual(whole);
    }),
    { numRuns: 40 },
  );
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

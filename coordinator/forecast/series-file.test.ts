import { expect, test } from "vitest";
import { parseTimestamp } from "../demand/timestamp.ts";
import { parseSeries } from "./series-file.ts";

const file = (...lines: string[]) => ["timestamp,value", ...lines].join("\n");

test("series: ISO times, Unix seconds and unmeasured bins are read", () => {
  const iso = parseSeries(
    file("2024-01-01T00:00:00Z,3", "2024-01-01 00:05:00,NaN"),
    "a.csv",
    parseTimestamp,
  );
  expect(iso).toMatchObject({ startMs: Date.UTC(2024, 0, 1), binMs: 300_000 });
  expect([...iso.counts]).toEqual([3, Number.NaN]);
  const unix = parseSeries(file("0,1", "60,", "120,1e15"), "a.csv", parseTimestamp);
  expect([...unix.counts]).toEqual([1, Number.NaN, 1e15]);
  const quoted = parseSeries(file('"0","0"', '"60", "7"', '120,"NA"', ""), "a.csv", parseTimestamp);
  expect([...quoted.counts]).toEqual([0, 7, Number.NaN]);
  const windows = file("0,1", "60,2", "").replaceAll("\n", "\r\n");
  expect([...parseSeries(windows, "a.csv", parseTimestamp).counts]).toEqual([1, 2]);
});

test.each([
  ["negative", ["0,1", "60,-2"], "line 3: a count is not negative"],
  ["repeated", ["0,1", "60,1", "60,1"], "line 4: repeats"],
  ["shuffled", ["0,1", "120,1", "60,1"], "line 4: is earlier"],
  ["missing", ["0,1", "60,1", "240,1"], "line 4: 2 bins are missing"],
  ["uneven", ["0,1", "60,1", "110,1"], "line 4: is 50 s after"],
  ["one point", ["0,1"], "line 2: at least two bins"],
  ["no number", ["0,x", "60,1"], "line 2: the value `x`"],
  ["no time", ["soon,1"], "line 2: the timestamp"],
  ["infinite", ["0,1", "60,Infinity"], "line 3: a count is at most"],
])("series: refuses by file and line (%s)", (_, lines, message) => {
  expect(() => parseSeries(file(...lines), "a.csv", parseTimestamp)).toThrow(`a.csv, ${message}`);
});

test("series: refuses a file without the header (line 1)", () => {
  expect(() => parseSeries("0,1\n60,2", "a.csv", parseTimestamp)).toThrow(
    "a.csv, line 1: the header",
  );
});

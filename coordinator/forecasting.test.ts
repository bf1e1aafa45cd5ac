import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { csvText } from "./cli/series-forecast.ts";
import { forecastFiles, type Place } from "./forecasting.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "forecasting-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function write(name: string, counts: readonly number[], day = 0): Promise<string> {
  const file = join(folder, name);
  const lines = counts.map((count, i) => `${day * 86_400 + i * 3600},${count}`);
  await writeFile(file, `timestamp,value\n${lines.join("\n")}\n`);
  return file;
}
const wave = (bins: number) => Array.from({ length: bins }, (_, t) => (t % 24) * 3 + (t % 7));

test("forecast files: origins are evenly over the last quarter, to the even one at half", async () => {
  const file = await write("even.csv", wave(100));
  const { series } = await forecastFiles([file], 10, 3);
  // 75, 82.5 and 90.
  expect(series[0]?.forecasts.map(({ origin }) => origin)).toEqual([75, 82, 90]);
});

test("forecast files: what comes after an origin changes nothing before it", async () => {
  const counts = wave(200);
  const file = await write("whole.csv", counts);
  const before = await forecastFiles([file], 12, 4);
  const changed = counts.map((count, t) => (t < 163 ? count : count * 50));
  const after = await forecastFiles([await write("whole.csv", changed)], 12, 4);
  const until = (made: typeof before) => made.series[0]?.forecasts.slice(0, 2);
  expect(until(before)?.[1]?.origin).toBe(163);
  expect(until(after)).toEqual(until(before));
});

test("forecast files: CSV as the scorer reads it", async () => {
  const made = await forecastFiles([await write("a.csv", wave(60))], 2, 2);
  const lines = csvText(made).trim().split("\n");
  expect(lines[0]).toBe("series,origin,step,q0.01,q0.05,q0.1,q0.25,q0.5,q0.75,q0.9,q0.95,q0.99");
  expect(lines).toHaveLength(5);
  expect(lines[1]).toMatch(/^a,45,1(,[\d.e-]+){9}$/);
});

test("forecast files: too few bins are refused by file and line", async () => {
  const file = await write("short.csv", wave(8));
  await expect(forecastFiles([file], 12, 2)).rejects.toThrow(`${file}, line 9: 8 bins are too few`);
});

test("forecast files: a public holiday of the country is a day off (Good Friday 1970)", async () => {
  const [first, goodFriday] = [72, 85];
  const isWeekend = (day: number) => (day + 4) % 7 === 0 || (day + 4) % 7 === 6;
  const counts = Array.from({ length: 24 * (goodFriday - first) }, (_, t) => {
    const busy = 90 + 60 * Math.sin((t * Math.PI) / 12) + (t % 5);
    return Math.round(busy * (isWeekend(first + Math.floor(t / 24)) ? 1 / 3 : 1));
  });
  const file = await write("holiday.csv", counts, first);
  const noon = async (country?: string) => {
    const { series } = await forecastFiles([file], 24, null, { country });
    return series[0]?.forecasts[0]?.quantiles[12]?.[4] ?? Number.NaN;
  };
  expect(await noon("DE")).toBeLessThan(0.8 * (await noon()));
});

test("forecast files: a country or time zone that is not known is named", async () => {
  const file = await write("nowhere.csv", wave(60));
  const asked = (place: Place) => forecastFiles([file], 2, null, place);
  await expect(asked({ country: "XX" })).rejects.toThrow("--country XX");
  await expect(asked({ timeZone: "Mars/Base" })).rejects.toThrow("Mars/Base");
});

type Row = { seconds: number; value: string };
/** What can be wrong in one row, and what is said of which row. */
const FAULTS: Record<string, (rows: Row[], at: number) => [line: number, what: RegExp]> = {
  negative: (rows, at) => {
    rows[at] = { seconds: at * 300, value: "-3" };
    return [at + 2, /not negative/];
  },
  words: (rows, at) => {
    rows[at] = { seconds: at * 300, value: "many" };
    return [at + 2, /not a number/];
  },
  huge: (rows, at) => {
    rows[at] = { seconds: at * 300, value: "1e16" };
    return [at + 2, /at most 1e15/];
  },
  duplicated: (rows, at) => {
    rows.splice(at, 0, { seconds: at * 300, value: "1" });
    return [at + 3, /repeats/];
  },
  missing: (rows, at) => {
    rows.splice(at, 1);
    return [at + 2, /missing before it/];
  },
  shuffled: (rows, at) => {
    rows.splice(at - 1, 0, ...rows.splice(at + 1, 1));
    return [at + 1, /missing before it/];
  },
};

test("forecast files: one bad row is named, whichever it is (every kind of fault)", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...Object.keys(FAULTS)),
      fc.integer({ min: 3, max: 80 }),
      fc.integer({ min: 0, max: 20 }),
      async (kind, at, more) => {
        const rows = Array.from({ length: at + 2 + more }, (_, i) => ({
          seconds: i * 300,
          value: `${i % 5}`,
        }));
        const [line, what] = FAULTS[kind]?.(rows, at) ?? [0, /./];
        const file = await writeRows("fault.csv", rows);
        const failure = await forecastFiles([file], 2, null).catch((error: unknown) => error);
        expect(failure).toMatchObject({ code: "CONFIG_INVALID", details: { line } });
        expect(String(failure)).toMatch(what);
      },
    ),
    { numRuns: 80 },
  );
});

test("forecast files: forecasts are finite, not negative and in order (whatever was counted)", async () => {
  const value = fc.oneof(
    { weight: 3, arbitrary: fc.nat({ max: 9 }).map(String) },
    fc.constantFrom("0", "", "NaN", "1e15", "1e-9", "1e-300", "0.5"),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(value, { minLength: 2, maxLength: 300 }),
      fc.constantFrom(60, 300, 3600, 86_400),
      async (values, width) => {
        const rows = values.map((value, i) => ({ seconds: i * width, value }));
        const made = await forecastFiles([await writeRows("any.csv", rows)], 5, null);
        for (const row of made.series[0]?.forecasts[0]?.quantiles ?? [[Number.NaN]]) {
          for (const [l, quantile] of row.entries()) {
            expect(Number.isFinite(quantile) && quantile >= (row[l - 1] ?? 0)).toBe(true);
          }
        }
      },
    ),
    { numRuns: 60, examples: [[["5e-324", "1e14", "1e-300"], 60]] },
  );
});

async function writeRows(name: string, rows: readonly Row[]): Promise<string> {
  const file = join(folder, name);
  const lines = rows.map(({ seconds, value }) => `${seconds},${value}`);
  await writeFile(file, `timestamp,value\n${lines.join("\n")}\n`);
  return file;
}

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { csvText } from "./cli/forecast.ts";
import { forecastFiles } from "./forecasting.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "forecasting-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function write(name: string, counts: readonly number[]): Promise<string> {
  const file = join(folder, name);
  const lines = counts.map((count, i) => `${i * 3600},${count}`);
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

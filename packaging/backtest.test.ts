import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../shared/runtime/clock.ts";
import { FakeTerminal } from "../test/support/terminal.ts";
import { runProgram } from "./prestage.ts";

async function run(...args: string[]) {
  const terminal = new FakeTerminal(["backtest", ...args]);
  await runProgram({ terminal, clock: systemClock });
  return terminal;
}

let folder: string;
let trace: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prestage-backtest-"));
  trace = join(folder, "requests.csv");
  const lines = ["timestamp,workload,category,origin,count"];
  for (let minute = 0; minute < 240; minute++) {
    const at = new Date(Date.UTC(2026, 0, 5) + minute * 60_000).toISOString();
    if (minute % 15 === 0) lines.push(`${at},maps,north,,2`);
    if (minute % 7 < 2) lines.push(`${at},<script>,x,,1`);
  }
  await writeFile(trace, `${lines.join("\n")}\nnonsense\n`);
});
afterAll(() => rm(folder, { recursive: true }));

test("backtest: prints the policies asked for, and its definitions (CSV with a bad line)", async () => {
  const { stdout, exit } = await run(trace, "--policies", "prestage:63,fixed:10,fixed:7");
  expect(exit).toBe(0);
  for (const part of [/^prestage:63 +\d/m, /^fixed:7 +\d/m, /1 lines could not be read/, /cold:/])
    expect(stdout).toMatch(part);
  expect(stdout).not.toMatch(/^lru +\d.*%/m);
}, 60_000);

test("backtest: writes a page that needs nothing else, and JSON (a name that is markup)", async () => {
  const page = join(folder, "page.html");
  const { stdout, exit } = await run(trace, "--json", "--html", page, "--warm-up", "30m");
  expect(exit).toBe(0);
  const result = JSON.parse(stdout);
  expect(result).toMatchObject({ categories: 2, minutes: 240, warmUpMinutes: 30, badLines: 1 });
  expect(result.policies[0].name).toBe("prestage");
  const html = await readFile(page, "utf8");
  expect(html).toContain("<svg");
  expect(html).not.toMatch(/(src|href)=|url\(|<script|@import|NaN|undefined|Infinity/);
}, 60_000);

test.each([
  [["--policies", "best"], "--policies best"],
  [["--sample", "0"], "--sample"],
  [["--warm-up", "soon"], "--warm-up"],
  [["--format", "xls"], "--format"],
  [["--warm-up", "9h"], "leaves nothing"],
])("backtest: says what is wrong with an option (%j)", async (args, said) => {
  const { errors, exit } = await run(trace, ...args);
  expect(errors).toContain(said);
  expect(exit).toBe(2);
});

test("backtest: takes memory and miss cost from declarations (workloads.yaml)", async () => {
  const file = join(folder, "workloads.yaml");
  await writeFile(
    file,
    "workloads:\n  - name: maps\n    match: { pathPrefix: / }\n    missCostSeconds: 90\n" +
      "    environment: { command: [x], resources: { memoryMb: 1024 } }\n",
  );
  const json = async (...more: string[]) =>
    JSON.parse((await run(trace, "--json", "--policies", "fixed:10", ...more)).stdout);
  const plain = (await json()).policies[0];
  const declared = (await json("--workloads", file)).policies[0];
  expect(declared.loadedGbHours).toBeGreaterThan(3 * plain.loadedGbHours);
  expect(declared.waitMsP99).toBe(90_000);
}, 60_000);

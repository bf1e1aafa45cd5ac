import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../shared/runtime/clock.ts";
import { FakeTerminal } from "../../test/support/terminal.ts";
import { addImport, type OpenFiles, type Recordings } from "./import.ts";
import type { Input, InputReport } from "./import-input.ts";
import { importText } from "./import-text.ts";

const REPORT: InputReport = {
  ...{ format: "log", lines: 12, badLines: 0, examples: [], unmatched: 0, unmatchedExamples: [] },
  ...{ warnings: [], requests: 10, bins: 2, span: { fromMs: 0, toMs: 60_000 }, unlisted: 0 },
  series: [{ workload: "w", category: "c", requests: 10 }],
  ...{ covers: null, cutEdges: false },
};

function input(label: string, more: Partial<InputReport> = {}, source = label): Input {
  return {
    label,
    parts: async function* () {
      yield [];
    },
    progress: () => ({ done: 1, total: 2, lines: 12, unit: "bytes" }),
    source: () => source,
    report: () => ({ ...REPORT, ...more }),
  };
}

/** The command with recordings that are at hand; what it opened is kept. */
async function run(args: string[], inputs: Input[] = [input("a.log")]) {
  const opened: { files?: OpenFiles; prometheus?: unknown } = {};
  const recordings: Recordings = {
    find: async (patterns) => [...patterns],
    files: async (options) => {
      opened.files = options;
      return inputs;
    },
    prometheus: async (settings) => {
      opened.prometheus = settings;
      return input("prometheus");
    },
  };
  const terminal = new FakeTerminal(["import", ...args]);
  const program = new Command().exitOverride();
  addImport(program, { terminal, clock: systemClock }, "Control:", recordings);
  await program.parseAsync([...terminal.args], { from: "user" });
  return { terminal, opened };
}

describe("import command", () => {
  test("asks for no rules where none are needed (CSV, fixed names, by path)", async () => {
    for (const args of [
      ["a.csv.gz"],
      ["a.log", "--by", "path"],
      ["--workload", "w", "--category", "c", "x"],
    ]) {
      const { opened, terminal } = await run(["--dry-run", ...args]);
      expect(terminal.errors).toBe("");
      expect(opened.files?.workloads).toBeNull();
    }
  });

  test.each([
    [["--by", "luck", "a"], "--by luck: one of auto, rules, path"],
    [["--format", "xml", "a"], "--format xml: one of"],
    [[], "name files, - for stdin, or --prometheus"],
    [["a", "--prometheus", "http://p"], "not both"],
    [["--prometheus", "http://p"], "--query"],
    [["--prometheus", "p", "--query", "q", "--workload", "w"], "an address like"],
    [["--prometheus", "http://a:b@p", "--query", "q", "--workload", "w"], "no secrets"],
    [["--prometheus", "http://p", "--query", "q", "--workload", "w", "--kind", "x"], "--kind x"],
    [
      ["--prometheus", "http://p", "--query", "q", "--workload", "w", "--step", "90s"],
      "whole minutes",
    ],
    [["--prometheus", "http://p", "--query", "q", "--workload", "w", "--start", "soon"], "14d"],
    [
      ["--prometheus", "http://p", "--query", "q", "--workload", "w", "--start", "now"],
      "not before",
    ],
    [["--prometheus", "http://p", "--query", "q", "--workload", "w", "--user", "u"], "go together"],
    [
      ["--prometheus", "http://p", "--query", "q", "--workload", "w", "--token-file", "/no"],
      "cannot read /no",
    ],
  ])("%j is refused: %s", async (args, message) => {
    const { terminal } = await run(["--dry-run", ...args]);
    expect([terminal.exit, terminal.errors]).toEqual([2, expect.stringContaining(message)]);
  });

  test("a range is whole steps, in any way a time is written", async () => {
    const ask = ["--dry-run", "--prometheus", "https://p/prom/", "--query", "q", "--workload", "w"];
    const times = ["--start", "2026-01-02 03:04:59", "--end", "1767409499", "--step", "5m"];
    expect((await run([...ask, ...times])).opened.prometheus).toMatchObject({
      url: "https://p/prom/",
      range: {
        fromMs: Date.UTC(2026, 0, 2, 3, 0),
        toMs: Date.UTC(2026, 0, 3, 3, 0),
        stepMs: 300_000,
      },
    });
  });

  test("two recordings that begin alike are refused, empty ones are not", async () => {
    const twice = [input("a.log", {}, "log:x"), input("b.log", {}, "log:x")];
    const { terminal } = await run(["--dry-run", "--by", "path", "a.log", "b.log"], twice);
    expect([terminal.exit, terminal.errors]).toEqual([
      5,
      expect.stringContaining("b.log begins as a.log"),
    ]);
  });

  test("with --json stdout is one document, also of a failure", async () => {
    const args = ["--dry-run", "--by", "path", "--json", "a.log"];
    const good = await run(args);
    expect(JSON.parse(good.terminal.stdout)).toMatchObject({ requests: 10, dryRun: true });
    const bad = await run(args, [input("a.log", { requests: 0, unmatched: 3 })]);
    expect(JSON.parse(bad.terminal.stdout)).toMatchObject({ error: { code: "CONFIG_INVALID" } });
    expect(bad.terminal.errors).toContain("--by path");
  });
});

test("import text: what people read (bad lines, others' requests, steering bytes)", () => {
  const text = importText({
    ...REPORT,
    ...{ input: "a.log", source: "log:x", dryRun: false, failure: null },
    badLines: 2,
    examples: [{ file: "a.log", line: 3, problem: "not a time: \u001b[2J" }],
    unmatched: 4,
    unmatchedExamples: ["/x"],
    warnings: ["part is missing"],
    imported: { bins: 2, requests: 10, duplicate: false, replaced: { bins: 1, requests: 7 } },
  });
  expect(text).toBe(
    [
      "a.log: 10 requests of 12 lines imported",
      "  from 1970-01-01 00:00:00 to 1970-01-01 00:01:00 UTC",
      "  in place of 7 it gave before",
      "  1 category:",
      "    w/c  10",
      "  2 lines could not be read, the first:",
      "    line 3: not a time:  [2J",
      "  4 requests are no declared workload's, for example:",
      "    /x",
      "  Prometheus warns: part is missing",
      "",
    ].join("\n"),
  );
});

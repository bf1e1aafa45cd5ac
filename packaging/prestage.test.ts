import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../shared/runtime/clock.ts";
import { FakeTerminal } from "../test/support/terminal.ts";
import { buildProgram, runProgram } from "./prestage.ts";

async function run(args: string[], options: ConstructorParameters<typeof FakeTerminal>[1] = {}) {
  const terminal = new FakeTerminal(args, options);
  await runProgram({ terminal, clock: systemClock });
  return terminal;
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prestage-cli-"));
});
afterAll(() => rm(folder, { recursive: true }));

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

describe("prestage", async () => {
  const program = await buildProgram({ terminal: new FakeTerminal([]), clock: systemClock });

  test("has the commands of the design", () => {
    const names = program.commands.map((c) => c.name());
    const wanted = [
      ..."demo coordinator agent join apply publish stage get status hosts top doctor".split(" "),
      ..."plan why forecast backtest signals events models follow".split(" "),
      ..."pause resume budgets import join-token token audit publisher-key publishers stages".split(
        " ",
      ),
    ];
    expect(names.toSorted()).toEqual(wanted.toSorted());
  });

  test("says of every command what it does, and takes --json", () => {
    for (const command of leaves(program)) {
      expect(command.description(), command.name()).not.toBe("");
      expect(command.options.map((o) => o.long)).toContain("--json");
      for (const option of command.options) expect(option.description).not.toBe("");
    }
  });

  test("loads the named command alone (stage)", async () => {
    const shell = { terminal: new FakeTerminal([]), clock: systemClock };
    const named = await buildProgram(shell, "stage");
    expect(named.commands.map((c) => c.name())).toEqual(["stage"]);
  });

  test("shows help and version with exit code 0", async () => {
    const help = await run(["--help"]);
    expect([help.exit, help.stdout]).toEqual([0, expect.stringContaining("Declare and stage:")]);
    const version = await run(["--version"]);
    expect([version.exit, version.stdout]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/)]);
  });

  test.each([
    [["stagr"], "Did you mean stage?"],
    [["status", "--jsn"], "--json"],
    [["stage", "a@1"], "--hosts"],
    [["stage", "--hosts", "all"], "artifact"],
  ])("answers %j with exit code 2 and a hint", async (args, hint) => {
    const terminal = await run(args);
    expect([terminal.exit, terminal.errors]).toEqual([2, expect.stringContaining(hint)]);
  });

  test("says where it looked for the context and what to give (no context)", async () => {
    const terminal = await run(["status"], { home: folder });
    expect(terminal.exit).toBe(3);
    expect(terminal.errors).toContain(join(folder, ".prestage", "coordinator", "cli.json"));
    expect(terminal.errors).toContain("--context FILE or PRESTAGE_CONTEXT");
  });

  test("puts the error as JSON on stdout as well (--json)", async () => {
    const terminal = await run(["status", "--json"], { home: folder });
    expect(JSON.parse(terminal.stdout).error).toMatchObject({ code: "UNAUTHENTICATED" });
  });

  test("says that nothing answers there (coordinator down)", async () => {
    const context = join(folder, "down.json");
    await writeFile(join(folder, "ca.pem"), "");
    const down = { url: "https://127.0.0.1:1", caFile: "ca.pem", token: "t" };
    await writeFile(context, JSON.stringify(down));
    const terminal = await run(["status"], { env: { PRESTAGE_CONTEXT: context } });
    expect(terminal.exit).toBe(6);
    expect(terminal.errors).toContain("cannot reach the coordinator at https://127.0.0.1:1");
  });

  test("names file, line and key of every mistake at once (apply)", async () => {
    const file = join(folder, "w.yaml");
    await writeFile(file, "workloads:\n  - name: a\n    moed: act\n    match: {}\nclases: []\n");
    const terminal = await run(["apply", "-f", file, "--dry-run"]);
    expect(terminal.exit).toBe(2);
    expect(terminal.errors).toContain(`${file}:3: workloads.0.moed: unknown key`);
    expect(terminal.errors).toContain(`${file}:5: clases: unknown key`);
  });

  test("checks a file without a coordinator (apply --dry-run, stdin)", async () => {
    const stdin = await readFile(new URL("examples/workloads.yaml", import.meta.url), "utf8");
    const terminal = await run(["apply", "-f", "-", "--dry-run", "--json"], { stdin });
    expect(JSON.parse(terminal.stdout)).toEqual({ valid: true, workloads: ["maps", "transcribe"] });
  });

  test.each([
    [["get", "Bad Name"], "1–64"],
    [["publish", "/nonexistent", "--name", "a", "--version", "1"], "not a folder"],
    [["join", "--coordinator", "http://a", "--token-file", "x", "--host", "h"], "https://"],
    [["demo", "--hosts", "0"], "--hosts 0"],
    [["demo", "--seed", "1", "--speed", "fast"], "--speed fast"],
  ])("refuses %j as wrong use", async (args, problem) => {
    const terminal = await run(args);
    expect([terminal.exit, terminal.errors]).toEqual([2, expect.stringContaining(problem)]);
  });

  test("says that no agent answers (get without an agent)", async () => {
    const terminal = await run(["get", "a@1", "--data", folder]);
    expect(terminal.exit).toBe(6);
    expect(terminal.errors).toContain("no agent answers at");
  });

  test.each(["prestage.mjs", "prestage.ts"])("runs as a process of its own (%s)", async (file) => {
    const entry = new URL(file, import.meta.url).pathname;
    const { stdout } = await promisify(execFile)(process.execPath, [entry, "--version"]);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

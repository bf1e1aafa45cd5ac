import { expect, test } from "vitest";
import { readYaml } from "./config.ts";
import { PrestageError } from "./errors.ts";
import { WorkloadsFile } from "./workload.ts";

const problemsOf = (text: string) => {
  try {
    readYaml(text, "w.yaml", WorkloadsFile);
  } catch (cause) {
    if (cause instanceof PrestageError) return cause.message.split("\n");
    throw cause;
  }
  return [];
};

const good = `workloads:
  - name: thumbs
    match: { pathPrefix: /thumbs }
    environment:
      command: [node, server.mjs]
`;

test("config: fills in defaults and freezes the value", () => {
  const file = readYaml(good, "w.yaml", WorkloadsFile);
  expect(file.workloads[0]?.mode).toBe("observe");
  expect(file.workloads[0]?.shadow.expect.status).toBe(200);
  expect(Object.isFrozen(file.workloads[0]?.environment.command)).toBe(true);
});

test("config: a mistyped key names file, line and key", () => {
  expect(problemsOf(good.replace("command:", "comand:"))).toEqual([
    "w.yaml:4: workloads.0.environment.command: Invalid input: expected array, received undefined",
    "w.yaml:5: workloads.0.environment.comand: unknown key",
  ]);
});

test("config: all problems come at once, in line order", () => {
  const found = problemsOf(`workloads:
  - name: Bad Name
    modus: act
    match: { pathPrefix: thumbs }
    environment: { command: [] }
`);
  expect(found.map((p) => p.split(": ")[0])).toEqual([
    "w.yaml:2",
    "w.yaml:3",
    "w.yaml:4",
    "w.yaml:5",
  ]);
});

test("config: broken YAML names the line", () => {
  expect(problemsOf("workloads:\n  - name: [a\n")[0]).toMatch(/^w\.yaml:[23]: /);
});

test("config: a workload of an undeclared class is refused with the ones there are", () => {
  expect(problemsOf(`${good}    class: gold\n`)[0]).toBe(
    "w.yaml:6: workloads.0.class: no class gold under classes: (default)",
  );
});

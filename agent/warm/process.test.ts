import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { PrestageError } from "../../shared/errors.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { baseEnv, serverCommand, temporaryDir } from "../../test/support/servers.ts";
import { testWorkload } from "../../test/support/workload.ts";
import type { LaunchSpec } from "./driver.ts";
import { ENVIRONMENT_VARIABLE, endProcess, processesOf, startTicksOf } from "./orphans.ts";
import { fillIn, ProcessDriver } from "./process.ts";

const UNTIL_MS = 60_000;
const never = new AbortController().signal;
const deps = { clock: systemClock, log: silentLog };

async function specFor(dir: string, id: string, env: Record<string, string> = {}) {
  const workload = testWorkload("shop", {
    environment: {
      command: await serverCommand(dir),
      env,
      readiness: { path: "/ready", timeoutMs: 60_000 },
    },
  });
  return { id, workload, category: "red", artifacts: { app: dir } } satisfies LaunchSpec;
}

function fetchText(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, path, agent: false }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => {
        text += chunk;
      });
      response.on("end", () => resolve(text));
      response.on("error", reject);
    }).on("error", reject);
  });
}

async function until(claim: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const endMs = systemClock.monotonic() + UNTIL_MS;
  while (systemClock.monotonic() < endMs) {
    if (await claim()) return;
    await systemClock.sleep(10);
  }
  throw new Error(`never came true: ${what}`);
}

const alive = async (id: string) => (await processesOf(new Set([id]))).length;

test("process: starts with the command filled in, answers, and stops as a group", async () => {
  await using temporary = await temporaryDir();
  const { dir } = temporary;
  const driver = new ProcessDriver(deps, { dir, baseEnv });
  const running = await driver.launch(await specFor(dir, "env-a", { CHILD: "1" }), {
    signal: never,
  });
  expect(JSON.parse(await fetchText(running.port, "/x"))).toMatchObject({ argv: ["red", dir] });
  expect(running.outputTail()).toContain(`starting on ${running.port}`);
  await until(async () => (await alive("env-a")) === 2, "server and child are there");
  expect(await readdir(join(dir, "environments"))).toEqual(["env-a.json"]);
  // The child ignores SIGTERM: it goes all the same.
  await running.stop(300);
  expect(await alive("env-a")).toBe(0);
  expect(await readdir(join(dir, "environments"))).toEqual([]);
  expect(await readdir(join(dir, "work"))).toEqual([]);
  await running.stop(300);
});

test("process: forces one that will not end", async () => {
  await using temporary = await temporaryDir();
  const { dir } = temporary;
  const driver = new ProcessDriver(deps, { dir, baseEnv });
  const spec = await specFor(dir, "env-b", { STUBBORN: "1" });
  const running = await driver.launch(spec, { signal: never });
  await running.stop(100);
  expect(await running.exited).toEqual({ code: null, signal: "SIGKILL" });
});

test("process: an exit by itself is told, what it started is ended", async () => {
  await using temporary = await temporaryDir();
  const { dir } = temporary;
  const driver = new ProcessDriver(deps, { dir, baseEnv });
  const running = await driver.launch(await specFor(dir, "env-c", { CHILD: "1" }), {
    signal: never,
  });
  await fetchText(running.port, "/crash").catch((cause: unknown) => cause);
  expect(await running.exited).toEqual({ code: 7, signal: null });
  expect(await alive("env-c")).toBe(0);
});

test.each([
  [
    "exits early",
    { EXIT_AFTER_MS: "50", READY_AFTER_MS: "99999" },
    60_000,
    /exit code 3/,
    /giving up/,
  ],
  ["never listens", { READY_AFTER_MS: "99999" }, 2000, /not ready within 2000 ms/, /starting on/],
])("process: a launch that fails says why (%s)", async (_, env, timeoutMs, message, output) => {
  await using temporary = await temporaryDir();
  const { dir } = temporary;
  const driver = new ProcessDriver(deps, { dir, baseEnv });
  const spec = await specFor(dir, "env-d", env);
  spec.workload.environment.readiness.timeoutMs = timeoutMs;
  const failure = await driver.launch(spec, { signal: never }).catch((cause: unknown) => cause);
  expect(failure).toBeInstanceOf(PrestageError);
  expect(failure).toMatchObject({
    code: "ENVIRONMENT_FAILED",
    message: expect.stringMatching(message),
    details: { output: expect.stringMatching(output) },
  });
  expect(await alive("env-d")).toBe(0);
  expect(await readdir(join(dir, "environments"))).toEqual([]);
});

test("process: a program that is not there is a failure with its name", async () => {
  await using temporary = await temporaryDir();
  const { dir } = temporary;
  const driver = new ProcessDriver(deps, { dir, baseEnv });
  const spec = await specFor(dir, "env-e");
  spec.workload.environment.command = ["no-such-program"];
  await expect(driver.launch(spec, { signal: never })).rejects.toMatchObject({
    code: "ENVIRONMENT_FAILED",
    message: expect.stringContaining("no-such-program"),
  });
});

test("process: an aborted launch leaves nothing", async () => {
  await using temporary = await temporaryDir();
  const { dir } = temporary;
  const driver = new ProcessDriver(deps, { dir, baseEnv });
  const leaving = new AbortController();
  const launching = driver.launch(await specFor(dir, "env-f", { READY_AFTER_MS: "99999" }), {
    signal: leaving.signal,
  });
  const refused = expect(launching).rejects.toThrow("not wanted");
  await until(async () => (await alive("env-f")) === 1, "it runs");
  leaving.abort(new Error("not wanted"));
  await refused;
  expect(await alive("env-f")).toBe(0);
  expect(await readdir(join(dir, "environments"))).toEqual([]);
});

test("orphans: the next agent ends what a killed one left, and nothing else", async () => {
  await using temporary = await temporaryDir();
  const { dir } = temporary;
  const spec = await specFor(dir, "env-g", { CHILD: "1", STUBBORN: "1" });
  const script = join(dir, "agent.mjs");
  const driverFile = fileURLToPath(new URL("process.ts", import.meta.url));
  const clockFile = fileURLToPath(new URL("../../shared/runtime/clock.ts", import.meta.url));
  const logFile = fileURLToPath(new URL("../../shared/runtime/log.ts", import.meta.url));
  await writeFile(
    script,
    `import { ProcessDriver } from ${JSON.stringify(driverFile)};
     import { systemClock as clock } from ${JSON.stringify(clockFile)};
     import { silentLog as log } from ${JSON.stringify(logFile)};
     const driver = new ProcessDriver({ clock, log }, ${JSON.stringify({ dir, baseEnv })});
     await driver.launch(${JSON.stringify(spec)}, { signal: new AbortController().signal });
     console.log("launched");
     setInterval(() => {}, 1000);`,
  );
  const agent = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => agent.stdout.once("data", resolve));
  await until(async () => (await alive("env-g")) === 2, "environment and child run");
  agent.kill("SIGKILL");
  await new Promise((resolve) => agent.once("exit", resolve));
  expect(await alive("env-g")).toBe(2);
  // A stranger of another agent, and a record whose number now means somebody else.
  const stranger = sleeper("someone-elses");
  await mkdir(join(dir, "environments"), { recursive: true });
  await writeFile(
    join(dir, "environments", "env-old.json"),
    JSON.stringify({ id: "env-old", pid: stranger.pid, startTicks: "1" }),
  );
  const next = new ProcessDriver(deps, { dir, baseEnv });
  expect(await next.recover()).toBe(2);
  expect(await alive("env-g")).toBe(0);
  expect(await readdir(join(dir, "environments"))).toEqual([]);
  expect(await alive("someone-elses")).toBe(1);
  stranger.kill("SIGKILL");
});

test("orphans: a number that was given to another process is left alone", async () => {
  const child = sleeper("env-h");
  await until(async () => (await alive("env-h")) === 1, "it runs");
  const [seen] = await processesOf(new Set(["env-h"]));
  expect(seen?.pid).toBe(child.pid);
  if (!seen) return;
  expect(await endProcess({ ...seen, startTicks: `${seen.startTicks}0` })).toBe(false);
  expect(await endProcess({ ...seen, environment: "env-other" })).toBe(false);
  expect(await startTicksOf(seen.pid)).toBe(seen.startTicks);
  expect(await endProcess(seen)).toBe(true);
  await until(async () => (await startTicksOf(seen.pid)) === null, "it is gone");
});

test("commands: placeholders are filled in, an unknown artifact is an error", () => {
  const spec = {
    workload: testWorkload("shop"),
    category: "red",
    artifacts: { model: "/trees/1" },
  };
  expect(fillIn("--m={artifact:model}/w --p={port} {category} {other}", spec, 80)).toBe(
    "--m=/trees/1/w --p=80 red {other}",
  );
  expect(() => fillIn("{artifact:modle}", spec, 80)).toThrow(/no artifact is declared as modle/);
});

function sleeper(environment: string): ChildProcess {
  return spawn("sleep", ["60"], {
    stdio: "ignore",
    env: { ...baseEnv, [ENVIRONMENT_VARIABLE]: environment },
  });
}

import { describe, expect, test } from "vitest";
import { type Clock, systemClock } from "./clock.ts";
import { askWorker, type Question } from "./worker.ts";

const moduleOf = (code: string) => new URL(`data:text/javascript,${encodeURIComponent(code)}`);
const ANSWER = `import { parentPort, workerData } from "node:worker_threads";`;
const question = (code: string): Question => ({
  module: moduleOf(ANSWER + code),
  request: 20,
  heapMb: 32,
  timeoutMs: 60_000,
  what: "counting",
});
const at = (signal = new AbortController().signal, clock: Clock = systemClock) => ({
  clock,
  signal,
});
const FOREVER = "setInterval(() => {}, 1000);";

describe("a question to a thread", () => {
  test("is answered by its first message", async () => {
    const code = "parentPort.postMessage(workerData + 1); parentPort.postMessage(0);";
    expect(await askWorker(question(code), at())).toBe(21);
  });

  test.each([
    ["it throws", "throw new Error('no');", "counting failed"],
    ["it ends without an answer", "process.exit(3);", "counting ended with 3 and no answer"],
    [
      "it takes too much memory",
      "const a = []; for (;;) a.push(new Array(1e5).fill(1.5));",
      "failed",
    ],
  ])(
    "fails as CORRUPT when %s",
    async (_, code, message) => {
      await expect(askWorker(question(code), at())).rejects.toMatchObject({
        code: "CORRUPT",
        message: expect.stringContaining(message),
      });
    },
    60_000,
  );

  test("is given up at its deadline, by the clock that was given", async () => {
    const clock = {
      ...systemClock,
      after: (_: number, fn: () => void) => systemClock.after(1, fn),
    };
    await expect(askWorker(question(FOREVER), at(undefined, clock))).rejects.toMatchObject({
      code: "TIMEOUT",
      message: "counting took over 60000 ms",
    });
  });

  test("is given up when asked to (before and while it works)", async () => {
    const controller = new AbortController();
    const asked = askWorker(question(FOREVER), at(controller.signal));
    controller.abort(new Error("stop"));
    await expect(asked).rejects.toThrow("stop");
    await expect(askWorker(question(FOREVER), at(controller.signal))).rejects.toThrow("stop");
  });
});

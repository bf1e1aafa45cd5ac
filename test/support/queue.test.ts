import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EventQueue } from "./queue.ts";

const nothing = () => {};

describe("the event queue", () => {
  test("carries out in order of time, then of making (any delays)", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(50)), async (delays) => {
        const queue = new EventQueue();
        const seen: [number, number][] = [];
        delays.forEach((ms, i) => {
          queue.in(ms, () => seen.push([queue.now(), i]));
        });
        await queue.run(1000, nothing);
        const expected = delays.map((ms, i): [number, number] => [ms, i]);
        expect(seen).toEqual(expected.sort((a, b) => a[0] - b[0] || a[1] - b[1]));
        expect(queue.now()).toBe(1000);
      }),
    );
  });

  test("stops at its time and goes on from there", async () => {
    const queue = new EventQueue(100);
    const seen: number[] = [];
    queue.in(10, () => queue.in(10, () => seen.push(queue.now())));
    await queue.run(115, nothing);
    expect(seen).toEqual([]);
    await queue.run(130, nothing);
    expect(seen).toEqual([120]);
  });

  test("forgets what was cancelled", async () => {
    const queue = new EventQueue();
    const cancel = queue.after(5, () => expect.unreachable());
    cancel();
    await queue.run(10, nothing);
    expect(queue.steps).toBe(0);
  });

  test("lets promises settle before the next event (sleep)", async () => {
    const queue = new EventQueue();
    const seen: string[] = [];
    void queue.sleep(5).then(() => seen.push("slept"));
    queue.in(6, () => seen.push("next"));
    await queue.run(10, nothing);
    expect(seen).toEqual(["slept", "next"]);
  });

  test("rejects an aborted sleep with the signal's reason", async () => {
    const queue = new EventQueue();
    const controller = new AbortController();
    const slept = queue.sleep(5, { signal: controller.signal });
    controller.abort("enough");
    await expect(slept).rejects.toBe("enough");
  });

  test("checks after every event, and a failing check ends the run", async () => {
    const queue = new EventQueue();
    queue.in(1, nothing);
    queue.in(2, () => expect.unreachable());
    const check = () => {
      throw new Error("broken");
    };
    await expect(queue.run(10, check)).rejects.toThrow("broken");
    expect(queue.now()).toBe(1);
  });
});

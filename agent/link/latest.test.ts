import { expect, test } from "vitest";
import { TaskGroup } from "../../shared/runtime/tasks.ts";
import { Latest } from "./latest.ts";

function setup() {
  const took: number[] = [];
  const failed: unknown[] = [];
  const latest = new Latest<number>({
    took: (value) => took.push(value),
    failed: (cause) => failed.push(cause),
  });
  return { latest, took, failed, group: new TaskGroup() };
}

test("latest: while one is handled only the newest of the others waits", async () => {
  const { latest, took, group } = setup();
  const handled: number[] = [];
  const gate = Promise.withResolvers<undefined>();
  latest.add(async (value) => {
    handled.push(value);
    await gate.promise;
  });
  for (const value of [1, 2, 3, 4]) latest.offer(value, group);
  gate.resolve(undefined);
  await group.done();
  expect(handled).toEqual([1, 4]);
  expect(took).toEqual([1, 4]);
});

test("latest: a value is taken only when every handler has (one throws)", async () => {
  const { latest, took, failed, group } = setup();
  latest.add(() => {});
  latest.add((value) => {
    if (value === 1) throw new Error("disk full");
  });
  latest.offer(1, group);
  await group.done();
  latest.offer(2, group);
  await group.done();
  expect(took).toEqual([2]);
  expect(failed).toMatchObject([{ message: "disk full" }]);
});

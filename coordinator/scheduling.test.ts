import { describe, expect, test } from "vitest";
import type { StageStatus } from "../shared/api-stages.ts";
import { PrestageError } from "../shared/errors.ts";
import { silentLog } from "../shared/runtime/log.ts";
import { Metrics } from "../shared/runtime/metrics.ts";
import { SimulatedClock } from "../test/support/clock.ts";
import { progressNote, stageText, waitingText } from "./cli/stage.ts";
import { Scheduling } from "./scheduling.ts";
import { ExplicitStages } from "./stages.ts";

const T0 = Date.UTC(2026, 10, 27);
const HOUR = 3_600_000;
const BY = "user:ann";

/** A coordinator's part that stages; `open` anew on the same keeper is a restart. */
function world() {
  const states = new Map<string, string>();
  const keeper = {
    state: (key: string) => JSON.parse(states.get(key) ?? "null"),
    setState: async (key: string, value: unknown) => void states.set(key, JSON.stringify(value)),
  };
  const clock = new SimulatedClock(T0);
  const versions = new Map([["latest", "1"]]);
  const enrolled = ["a", "b"];
  let changes = 0;
  const open = () => {
    const stages = new ExplicitStages(keeper);
    const scheduling = new Scheduling({
      ...{ clock, demandClock: clock, log: silentLog, metrics: new Metrics(), keeper, stages },
      view: () => ({ record: () => undefined, waiting: () => "paused", now: clock.now() }),
      resolve: (name, at) => {
        const version = "version" in at ? at.version : versions.get(at.tag);
        if (!version) throw new PrestageError("NOT_FOUND", `${name} is not published`);
        return { ref: { name, version }, manifestHash: `${name}@${version}`, bytes: 100 };
      },
      hosts: () => enrolled,
      changed: () => void changes++,
    });
    return { scheduling, stages };
  };
  return { clock, open, versions, enrolled, changes: () => changes };
}
const maps = { name: "maps", version: null, tag: "latest" };
const nightly = { artifact: maps, hosts: null, cron: { expression: "0 3 * * *", timeZone: "UTC" } };

describe("scheduling", () => {
  test("a nightly schedule stages what the tag means that night, on who is enrolled then", async () => {
    const { clock, open, versions, enrolled } = world();
    const { scheduling, stages } = open();
    await scheduling.add({ ...nightly, deadline: { withinMs: 2 * HOUR } }, BY);
    await scheduling.tick();
    expect(stages.list()).toEqual([]);
    versions.set("latest", "2");
    enrolled.push("c");
    await clock.advance(3 * HOUR);
    await scheduling.tick();
    await scheduling.tick();
    const [stage] = stages.list();
    expect(stages.list()).toHaveLength(1);
    expect(stage).toMatchObject({ ref: { version: "2" }, hosts: ["a", "b", "c"] });
    expect(stage?.deadlineMs).toBe(T0 + 5 * HOUR);
    expect(scheduling.list().schedules[0]).toMatchObject({ lastStage: stage?.id, problem: null });
  });

  test("survives a restart, and makes up for one night of three", async () => {
    const { clock, open } = world();
    await open().scheduling.add(nightly, BY);
    await clock.advance(2 * 24 * HOUR + 4 * HOUR);
    const { scheduling, stages } = open();
    await scheduling.tick();
    expect(stages.list()).toHaveLength(1);
    expect(scheduling.list().schedules).toMatchObject([{ missed: 2, lastMissedMs: clock.now() }]);
  });

  test("a run that can stage nothing says why, and the next one is tried", async () => {
    const { clock, open, versions } = world();
    const { scheduling, stages } = open();
    versions.clear();
    await scheduling.add(nightly, BY);
    await clock.advance(3 * HOUR);
    await scheduling.tick();
    expect(scheduling.list().schedules[0]?.problem).toMatch(/NOT_FOUND: maps is not published/);
    versions.set("latest", "9");
    await clock.advance(24 * HOUR);
    await scheduling.tick();
    expect(stages.list()).toMatchObject([{ ref: { version: "9" } }]);
    expect(scheduling.list().schedules[0]?.problem).toBe(null);
  });

  test("cancelling ends a schedule, or a staging; what a schedule staged stays", async () => {
    const { clock, open, changes } = world();
    const { scheduling, stages } = open();
    const { id } = await scheduling.add(nightly, BY);
    await clock.advance(3 * HOUR);
    await scheduling.tick();
    expect((await scheduling.cancel(id)).schedules).toEqual([]);
    const [stage] = stages.list();
    const before = changes();
    expect((await scheduling.cancel(stage?.id ?? "")).stages).toEqual([]);
    expect(changes()).toBe(before + 1);
    await expect(scheduling.cancel("nothing")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("what is to be held for an hour is let go after it", async () => {
    const { clock, open } = world();
    const { scheduling, stages } = open();
    const ref = { name: "maps", version: "1" };
    await scheduling.stage({ ref, hosts: ["a"], holdMs: HOUR }, BY);
    await clock.advance(HOUR - 1);
    await scheduling.tick();
    expect(stages.list()).toHaveLength(1);
    await clock.advance(1);
    await scheduling.tick();
    expect(stages.list()).toEqual([]);
  });

  test("the same version on other hosts is another staging; on all of them it takes its place", async () => {
    const { open } = world();
    const { scheduling, stages } = open();
    const ref = { name: "maps", version: "1" };
    await scheduling.stage({ ref, hosts: ["a"] }, BY);
    await scheduling.stage({ ref, hosts: ["b"] }, BY);
    expect(stages.list()).toHaveLength(2);
    await scheduling.stage({ ref, hosts: null }, BY);
    expect(stages.list().map((s) => s.hosts)).toEqual([["a", "b"]]);
  });

  test.each([
    [
      "a date that never comes",
      { ...nightly, cron: { expression: "0 0 30 2 *", timeZone: "UTC" } },
    ],
    ["a time that has passed", { artifact: maps, hosts: null, at: T0 - 1 }],
    [
      "a deadline before the start",
      { artifact: maps, hosts: null, at: T0 + 9, deadline: { byMs: T0 + 5 } },
    ],
  ])("%s is refused", async (_, request) => {
    const { scheduling } = world().open();
    await expect(scheduling.add(request, BY)).rejects.toMatchObject({ code: "USAGE" });
  });

  test("a host nobody knows is refused, at once", async () => {
    const { scheduling } = world().open();
    const add = scheduling.add({ ...nightly, hosts: ["z"] }, BY);
    await expect(add).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("what people read of a staging", () => {
  const host = {
    state: "pending",
    code: null,
    detail: null,
    bytesDone: 50,
    bytesPerSecond: 0,
  } as const;
  const status = (over: Partial<StageStatus>): StageStatus => ({
    ...{ id: "s", ref: { name: "maps", version: "1" }, bytes: 100, createdMs: T0, createdBy: BY },
    ...{ schedule: null, deadlineMs: null, untilMs: null, done: false, onTime: null },
    ...{ bytesPerSecond: 0, remainingMs: null, hosts: [] },
    ...over,
  });

  test("rate and remaining time while it moves", () => {
    const moving = { ...host, host: "a", bytesPerSecond: 25, waiting: null };
    const text = progressNote(status({ hosts: [moving], bytesPerSecond: 25, remainingMs: 2_000 }));
    expect(text).toBe("50 B of 100 B, 0/1 hosts, 25 B/s, 2.0 s left");
  });

  test("why, while nothing does", () => {
    const a = { ...host, host: "a", waiting: "paused" } as const;
    const b = { ...host, host: "b", waiting: "throttled" } as const;
    expect(progressNote(status({ hosts: [a] }))).toMatch(/, paused \(prestage resume\)$/);
    expect(waitingText(status({ hosts: [a, b] }))).toBe(
      "paused (prestage resume) on a; throttled: the host or its site is at peak on b",
    );
  });

  test("what a host said of its failure", () => {
    const detail = "no room for 5 MiB in /data/mesh";
    const full = { ...host, host: "a", state: "failed", code: "DISK_FULL", detail, waiting: null };
    const text = stageText(status({ hosts: [{ ...full, state: "failed" }] }));
    expect(text).toContain("a: no room for 5 MiB in /data/mesh\n");
  });

  test("that a deadline will not be met", () => {
    const late = status({ deadlineMs: T0, onTime: false });
    expect(progressNote(late)).toContain("too slow for its deadline");
    expect(stageText(late)).toMatch(/by 2026-11-27 00:00:00: will not be met/);
  });
});

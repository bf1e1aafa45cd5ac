import { expect, test } from "vitest";
import { EnvironmentState, type Verdict } from "../../shared/domain.ts";
import {
  type Environment,
  type EnvironmentEffect,
  type EnvironmentEvent,
  holdsMemory,
  newEnvironment,
  routable,
  stepEnvironment,
  underWay,
} from "./environment.ts";

const pass: Verdict = { passed: true, atMs: 1, latencyMs: 2, detail: "" };
const fail: Verdict = { passed: false, atMs: 1, latencyMs: 2, detail: "status 500, expected 200" };

/** Every situation that can be told apart. */
const base = newEnvironment("e1", 0);
const SITUATIONS = {
  absent: base,
  staging: { ...base, state: "staging" },
  cold: { ...base, state: "cold" },
  warming: { ...base, state: "warming" },
  warm: { ...base, state: "warm", verdict: pass },
  "warm, suspect": { ...base, state: "warm", verdict: null },
  "serving 1": { ...base, state: "serving", verdict: pass, inFlight: 1 },
  "serving 2": { ...base, state: "serving", verdict: pass, inFlight: 2 },
  "serving 1, suspect": { ...base, state: "serving", verdict: null, inFlight: 1 },
  "draining 1": { ...base, state: "draining", verdict: pass, inFlight: 1 },
  "draining 2": { ...base, state: "draining", verdict: pass, inFlight: 2 },
  "draining 1, stopping": { ...base, state: "draining", inFlight: 1, stopping: true },
  "draining, stopping": { ...base, state: "draining", stopping: true },
} satisfies Record<string, Environment>;
type Situation = keyof typeof SITUATIONS;

const EVENTS = {
  stage: { type: "stage" },
  staged: { type: "staged" },
  "stage-failed": { type: "stage-failed" },
  start: { type: "start" },
  passed: { type: "verdict", verdict: pass },
  failed: { type: "verdict", verdict: fail },
  suspect: { type: "suspect" },
  begin: { type: "begin" },
  end: { type: "end" },
  drop: { type: "drop" },
  deadline: { type: "deadline" },
  exited: { type: "exited" },
} satisfies Record<string, EnvironmentEvent>;
type EventName = keyof typeof EVENTS;

type Row = [next: string, ...effects: EnvironmentEffect[]];
/** What is not here is refused. */
const TABLE: Record<Situation, Partial<Record<EventName, Row>>> = {
  absent: { stage: ["staging", "stage"] },
  staging: {
    staged: ["cold", "queue"],
    "stage-failed": ["absent", "failed", "gone"],
    drop: ["absent", "cancel-stage", "gone"],
  },
  cold: { start: ["warming", "launch"], drop: ["absent", "gone"] },
  warming: {
    passed: ["warm", "serve"],
    failed: ["draining stopping", "failed", "stop"],
    exited: ["absent", "failed", "gone"],
    drop: ["draining stopping", "stop"],
  },
  warm: {
    begin: ["serving 1"],
    suspect: ["warm unproven", "recheck"],
    drop: ["draining stopping", "stop"],
    exited: ["absent", "failed", "gone"],
  },
  "warm, suspect": {
    passed: ["warm", "serve"],
    failed: ["draining stopping", "failed", "stop"],
    drop: ["draining stopping", "stop"],
    exited: ["absent", "failed", "gone"],
  },
  "serving 1": {
    begin: ["serving 2"],
    end: ["warm"],
    suspect: ["serving 1 unproven", "recheck"],
    drop: ["draining 1"],
    exited: ["absent", "failed", "gone"],
  },
  "serving 2": {
    begin: ["serving 3"],
    end: ["serving 1"],
    suspect: ["serving 2 unproven", "recheck"],
    drop: ["draining 2"],
    exited: ["absent", "failed", "gone"],
  },
  "serving 1, suspect": {
    end: ["warm unproven"],
    passed: ["serving 1", "serve"],
    failed: ["draining 1 stopping", "failed", "stop"],
    drop: ["draining 1"],
    exited: ["absent", "failed", "gone"],
  },
  "draining 1": {
    end: ["draining stopping", "stop"],
    deadline: ["draining 1 stopping", "stop"],
    exited: ["absent", "gone"],
  },
  "draining 2": {
    end: ["draining 1"],
    deadline: ["draining 2 stopping", "stop"],
    exited: ["absent", "gone"],
  },
  "draining 1, stopping": { end: ["draining stopping"], exited: ["absent", "gone"] },
  "draining, stopping": { exited: ["absent", "gone"] },
};

function show({ state, inFlight, stopping, verdict }: Environment): string {
  const ready = state === "warm" || state === "serving";
  return [
    state,
    ...(inFlight > 0 ? [inFlight] : []),
    ...(stopping ? ["stopping"] : []),
    ...(ready && !verdict ? ["unproven"] : []),
  ].join(" ");
}

const situations = Object.entries(SITUATIONS) as [Situation, Environment][];
const events = Object.entries(EVENTS) as [EventName, EnvironmentEvent][];
const cases = situations.flatMap(([situation, environment]) =>
  events.map(([name, event]) => {
    const row = TABLE[situation][name];
    return { situation, name, environment, event, row, expected: row?.[0] ?? "refused" };
  }),
);

test.each(cases)("$situation + $name → $expected", ({ environment, event, row }) => {
  const step = stepEnvironment(environment, event, 7);
  if (!row) {
    expect(step.ok).toBe(false);
    if (!step.ok) expect(step.refused).toMatch(new RegExp(`^${event.type} while `));
    return;
  }
  const [next, ...effects] = row;
  expect(step).toMatchObject({ ok: true, effects });
  if (step.ok) {
    expect(show(step.next)).toBe(next);
    expect(step.next.sinceMs).toBe(step.next.state === environment.state ? 0 : 7);
  }
});

test("the table has every state", () => {
  const seen = new Set(situations.map(([, environment]) => environment.state));
  expect([...seen].sort()).toEqual([...EnvironmentState.options].sort());
});

test.each(situations)("%s: is routable only with a passing verdict", (_, environment) => {
  const begins = stepEnvironment(environment, { type: "begin" }, 1).ok;
  expect(begins).toBe(routable(environment));
  expect(routable({ ...environment, verdict: fail })).toBe(false);
  expect(routable({ ...environment, verdict: null })).toBe(false);
});

test("requests move the time of last use, at begin and at end", () => {
  const begun = stepEnvironment(SITUATIONS.warm, { type: "begin" }, 50);
  expect(begun).toMatchObject({ ok: true, next: { lastUsedMs: 50 } });
  if (!begun.ok) return;
  expect(stepEnvironment(begun.next, { type: "end" }, 90)).toMatchObject({
    next: { lastUsedMs: 90, state: "warm" },
  });
});

test("memory is held from warming until the process is gone", () => {
  expect(EnvironmentState.options.filter(holdsMemory)).toEqual([
    "warming",
    "warm",
    "serving",
    "draining",
  ]);
  expect(EnvironmentState.options.filter(underWay)).toEqual(["staging", "cold", "warming"]);
});

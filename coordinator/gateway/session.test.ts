import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Hello } from "../../shared/protocol/bodies.ts";
import { bin, helloFacts, reportFacts } from "../../test/support/messages.ts";
import {
  type AgentSession,
  type AgentSessionEffect,
  type AgentSessionEvent,
  newAgentSession,
  nextAgentTickMs,
  AGENT_SESSION_DEFAULTS as options,
  stepAgent,
} from "./session.ts";

const AT = 1_000;
const hello = (changes: Partial<Hello> = {}): AgentSessionEvent => ({
  type: "hello",
  lastSeq: 4,
  chance: 0.5,
  hello: {
    ...helloFacts("host-a"),
    protocol: { min: 1, max: 1 },
    desiredVersion: 0,
    routesVersion: 0,
    membersEpoch: 0,
    ...changes,
  },
});
const report = (desiredVersion: number): AgentSessionEvent => ({
  type: "message",
  message: {
    type: "report",
    body: { ...reportFacts(), desiredVersion, routesVersion: 0, membersEpoch: 0 },
  },
});
const records = (seq: number): AgentSessionEvent => ({
  type: "message",
  message: { type: "records", body: { seq, demand: [bin("host-a", 1)], outcomes: [] } },
});
const PONG: AgentSessionEvent = { type: "message", message: { type: "pong", body: { at: 1 } } };
const TICK: AgentSessionEvent = { type: "tick" };
const want = (version: number, bytes = 100): AgentSessionEvent => ({
  type: "want",
  what: "desired",
  version,
  bytes,
});

function run(session: AgentSession, events: AgentSessionEvent[], nowMs = AT) {
  const effects: AgentSessionEffect[] = [];
  let next = session;
  for (const event of events) {
    const result = stepAgent(next, event, nowMs, options);
    next = result.session;
    effects.push(...result.effects);
  }
  return { session: next, effects };
}

function names(effects: AgentSessionEffect[]): string[] {
  return effects.map((e) => {
    if (e.type === "send") return `send ${e.message.type}`;
    if (e.type === "push") return `push ${e.what}`;
    return e.type === "close" ? `close ${e.code}` : e.type;
  });
}

const greeting = newAgentSession("s-1", "host-a", AT);
const open = run(greeting, [hello()]).session;
const closed = run(open, [{ type: "end", code: "REVOKED", message: "" }]).session;
const PHASES = { greeting, open, closed };

/** Each event: what becomes of greeting, open, closed. */
const TABLE: [string, AgentSessionEvent, [string, string, string]][] = [
  ["tick", TICK, ["greeting", "open", "closed"]],
  ["hello", hello(), ["open: send welcome: opened", "closed: close PROTOCOL", "closed"]],
  [
    "hello of another host",
    hello({ host: "host-b" }),
    ["closed: close FORBIDDEN", "closed: close PROTOCOL", "closed"],
  ],
  [
    "hello without a common version",
    hello({ protocol: { min: 7, max: 9 } }),
    ["closed: close PROTOCOL", "closed: close PROTOCOL", "closed"],
  ],
  ["report", report(0), ["closed: close PROTOCOL", "open: report", "closed"]],
  ["records", records(5), ["closed: close PROTOCOL", "open: store", "closed"]],
  ["records stored before", records(4), ["closed: close PROTOCOL", "open: send ack", "closed"]],
  [
    "request",
    { type: "message", message: { type: "request", body: { id: 1, body: { kind: "model" } } } },
    ["closed: close PROTOCOL", "open: answer", "closed"],
  ],
  ["pong", PONG, ["closed: close PROTOCOL", "open", "closed"]],
  ["want", want(3), ["greeting", "open: push desired", "closed"]],
  [
    "stored",
    { type: "stored", seq: 5, ok: true },
    ["greeting: send ack", "open: send ack", "closed"],
  ],
  ["not stored", { type: "stored", seq: 5, ok: false }, ["greeting", "open", "closed"]],
  ["buffered", { type: "buffered", bytes: 1_000_000 }, ["greeting", "open", "closed"]],
  [
    "buffered far too much",
    { type: "buffered", bytes: 100_000_000 },
    ["greeting", "closed: close RATE_LIMITED", "closed"],
  ],
  [
    "end",
    { type: "end", code: "REVOKED", message: "" },
    ["closed: close REVOKED", "closed: close REVOKED", "closed"],
  ],
];

describe("agent session, state by event", () => {
  const cases = TABLE.flatMap(([name, event, outcomes]) =>
    Object.values(PHASES).map((s, i) => [name, s.phase, event, s, outcomes[i]] as const),
  );
  test.each(cases)("%s (%s)", (_name, _phase, event, session, expected) => {
    const result = run(session, [event]);
    expect([result.session.phase, ...names(result.effects)].join(": ")).toBe(expected);
  });
});

describe("agent session", () => {
  test("the welcome says which records are stored; a refusal whom to upgrade", () => {
    expect(run(greeting, [hello()]).effects[0]).toMatchObject({
      message: { type: "welcome", body: { protocol: 1, sessionId: "s-1", lastSeq: 4 } },
    });
    const older = run(greeting, [hello({ protocol: { min: 7, max: 9 } })]).effects[0];
    expect(older).toMatchObject({ message: expect.stringMatching(/upgrade the coordinator$/) });
  });

  test("a wanted version goes out until a report shows it, again every ten seconds", () => {
    const pushed = run(open, [want(3)]);
    expect(names(pushed.effects)).toEqual(["push desired"]);
    expect(run(pushed.session, [report(0)], AT + 5_000).effects).toHaveLength(1);
    expect(names(run(pushed.session, [PONG], AT + 10_000).effects)).toContain("push desired");
    const shown = run(pushed.session, [report(3)], AT + 5_000).session;
    expect(names(run(shown, [PONG], AT + 20_000).effects)).toEqual(["send ping"]);
  });

  test("is sent nothing that its hello shows already", () => {
    const knows = run(greeting, [hello({ desiredVersion: 3 }), want(3)]);
    expect(names(knows.effects)).toEqual(["send welcome", "opened"]);
    expect(names(run(knows.session, [want(2)]).effects)).toEqual(["push desired"]);
  });

  test("many changes in a row become one message, spaced by size", () => {
    const burst = run(open, [want(3, 4 << 20), want(4), want(5)]);
    expect(names(burst.effects)).toEqual(["push desired"]);
    const { pushBytesPerSecond } = options;
    const spacedMs = ((4 << 20) / pushBytesPerSecond) * 1_000;
    expect(run(burst.session, [TICK], AT + spacedMs - 1).effects).toEqual([]);
    expect(names(run(burst.session, [TICK], AT + spacedMs).effects)).toEqual(["push desired"]);
  });

  test("records are stored one batch at a time, acknowledged after, and none twice", () => {
    const storing = run(open, [records(5), records(5)]);
    expect(names(storing.effects)).toEqual(["store"]);
    const failed = run(storing.session, [{ type: "stored", seq: 5, ok: false }, records(5)]);
    expect(names(failed.effects)).toEqual(["store"]);
    const stored = run(failed.session, [{ type: "stored", seq: 5, ok: true }, records(5)]);
    expect(names(stored.effects)).toEqual(["send ack", "send ack"]);
  });

  test("too many requests at once are refused", () => {
    const request = (id: number): AgentSessionEvent => ({
      type: "message",
      message: { type: "request", body: { id, body: { kind: "model" } } },
    });
    const ids = Array.from({ length: options.requestsMax + 1 }, (_, i) => i + 1);
    const { effects, session } = run(open, ids.map(request));
    expect(effects.at(-1)).toMatchObject({
      message: { body: { ok: false, code: "RATE_LIMITED" } },
    });
    const reply = { id: 1, ok: false, code: null, message: "", body: null };
    const freed = run(session, [{ type: "replied", reply }, request(99)]);
    expect(names(freed.effects)).toEqual(["send reply", "answer"]);
  });

  test("pings at its period and gives up after three silent ones", () => {
    expect(names(run(open, [TICK], AT + 7_500).effects)).toEqual(["send ping"]);
    expect(run(open, [TICK], AT + 7_499).effects).toEqual([]);
    expect(names(run(open, [TICK], AT + 30_000).effects)).toEqual(["close TIMEOUT"]);
    expect(names(run(greeting, [TICK], AT + 10_000).effects)).toEqual(["close TIMEOUT"]);
  });

  test("a slow reader is sent no states, and is given up when it stays slow", () => {
    const slow = run(open, [{ type: "buffered", bytes: 300_000 }, want(3)]);
    expect(slow.effects).toEqual([]);
    const better = run(slow.session, [{ type: "buffered", bytes: 0 }], AT + 5_000);
    expect(names(better.effects)).toEqual(["push desired"]);
    const worse = run(slow.session, [PONG, { type: "buffered", bytes: 300_000 }], AT + 15_000);
    expect(names(worse.effects)).toContain("close RATE_LIMITED");
  });

  test("any events: closes once, and never spins", () => {
    const event = fc.constantFrom(
      ...TABLE.map(([, e]) => e).filter((e) => e.type !== "end"),
      want(9),
    );
    const script = fc.array(fc.tuple(event, fc.integer({ min: 0, max: 6_000 })), { maxLength: 60 });
    fc.assert(
      fc.property(script, (events) => {
        let session = newAgentSession("s-1", "host-a", 0);
        let nowMs = 0;
        let closes = 0;
        for (const [next, waitMs] of events) {
          nowMs += waitMs;
          const result = stepAgent(session, next, nowMs, options);
          session = result.session;
          closes += result.effects.filter((e) => e.type === "close").length;
          expect(nextAgentTickMs(session, options)).toBeGreaterThan(nowMs);
          expect(closes).toBe(session.phase === "closed" ? 1 : 0);
        }
      }),
    );
  });
});

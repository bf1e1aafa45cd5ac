import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import {
  bin,
  desiredState,
  helloFacts,
  outcome,
  reportFacts,
} from "../../test/support/messages.ts";
import {
  newSession,
  nextTickMs,
  SESSION_DEFAULTS,
  type Session,
  type SessionEffect,
  type SessionEvent,
  step,
} from "./session.ts";

const options = { ...SESSION_DEFAULTS, requestsMax: 3 };
const context = () => ({ random: seededRandom(1), options });
const HAVE = { desired: 0, routes: 0, members: 0 };
const AT = 1_000;

function run(session: Session, events: SessionEvent[], nowMs = AT) {
  const effects: SessionEffect[] = [];
  let next = session;
  for (const event of events) {
    const result = step(next, event, nowMs, context());
    next = result.session;
    effects.push(...result.effects);
  }
  return { session: next, effects };
}

const welcome = (lastSeq = 0): SessionEvent => ({
  type: "message",
  connection: 1,
  message: {
    type: "welcome",
    body: { protocol: 1, sessionId: "s", heartbeatMs: 10_000, lastSeq },
  },
});
const START: SessionEvent = { type: "start" };
const CONNECTED: SessionEvent = { type: "connected", connection: 1, hello: helloFacts("h") };
const RECORD: SessionEvent = { type: "record", demand: [bin("h", 1)], outcomes: [] };
const STOP: SessionEvent = { type: "stop" };

const down = newSession(AT, HAVE);
const connecting = run(down, [START]).session;
const greeting = run(connecting, [CONNECTED]).session;
const open = run(greeting, [welcome()]).session;
const draining = run(open, [RECORD, STOP]).session;
const ended = run(connecting, [STOP]).session;
const PHASES = { down, connecting, greeting, open, draining, ended };

const message = (type: "ping" | "ack" | "bye" | "desired" | "reply"): SessionEvent => {
  const messages = {
    ping: { type: "ping", body: { at: 3 } },
    ack: { type: "ack", body: { seq: 1 } },
    bye: { type: "bye", body: { code: "REVOKED", message: "" } },
    desired: { type: "desired", body: desiredState(4) },
    reply: {
      type: "reply",
      body: { id: 1, ok: false, code: "NOT_FOUND", message: "", body: null },
    },
  } as const;
  return { type: "message", connection: 1, message: messages[type] };
};

/** Each event: what becomes of down, connecting, greeting, open, draining, ended. */
const TABLE: [string, SessionEvent, string[]][] = [
  ["start", START, ["connecting: connect", "connecting", "greeting", "open", "draining", "ended"]],
  ["tick", { type: "tick" }, ["down", "connecting", "greeting", "open", "draining", "ended"]],
  [
    "connected",
    CONNECTED,
    ["down", "greeting: send hello", "greeting", "open", "draining", "ended"],
  ],
  [
    "closed",
    { type: "closed", connection: 1, code: "UNREACHABLE", message: "" },
    ["down", "down", "down", "down", "ended", "ended"],
  ],
  [
    "closed of an earlier connection",
    { type: "closed", connection: 0, code: "UNREACHABLE", message: "" },
    ["down", "connecting", "greeting", "open", "draining", "ended"],
  ],
  [
    "refused frame",
    { type: "refused", connection: 1, code: "PROTOCOL", message: "" },
    ["down", "connecting", "down: close", "down: close", "ended: close", "ended"],
  ],
  ["welcome", welcome(), ["down", "connecting", "open", "down: close", "ended: close", "ended"]],
  [
    "ping",
    message("ping"),
    ["down", "connecting", "down: close", "open: send pong", "draining: send pong", "ended"],
  ],
  ["ack", message("ack"), ["down", "connecting", "down: close", "open", "ended: close", "ended"]],
  ["bye", message("bye"), ["down", "connecting", "greeting", "open", "draining", "ended"]],
  [
    "desired",
    message("desired"),
    ["down", "connecting", "down: close", "open: deliver", "draining: deliver", "ended"],
  ],
  [
    "reply to nothing",
    message("reply"),
    ["down", "connecting", "down: close", "open", "draining", "ended"],
  ],
  [
    "report",
    { type: "report", report: reportFacts() },
    ["down", "connecting", "greeting", "open: send report", "draining: send report", "ended"],
  ],
  ["record", RECORD, ["down", "connecting", "greeting", "open: send records", "draining", "ended"]],
  [
    "ask",
    { type: "ask", id: 1, body: { kind: "model" }, deadlineMs: AT + 50 },
    ["down", "connecting", "greeting", "open: send request", "draining: send request", "ended"],
  ],
  [
    "ask too late",
    { type: "ask", id: 1, body: { kind: "model" }, deadlineMs: AT },
    [
      "down: settle",
      "connecting: settle",
      "greeting: settle",
      "open: settle",
      "draining: settle",
      "ended",
    ],
  ],
  [
    "forget",
    { type: "forget", id: 1 },
    ["down", "connecting", "greeting", "open", "draining", "ended"],
  ],
  [
    "took",
    { type: "took", what: "desired", version: 2 },
    ["down", "connecting", "greeting", "open", "draining", "ended"],
  ],
  [
    "congested",
    { type: "congested", connection: 1 },
    ["down", "connecting", "greeting", "open", "draining", "ended"],
  ],
  [
    "drained",
    { type: "drained", connection: 1 },
    ["down", "connecting", "greeting", "open", "draining", "ended"],
  ],
  [
    "stop",
    STOP,
    ["ended", "ended: close", "ended: close", "ended: close", "ended: close", "ended"],
  ],
];

describe("session, state by event", () => {
  const cases = TABLE.flatMap(([name, event, outcomes]) =>
    Object.values(PHASES).map(
      (session, i) => [name, session.phase, event, session, outcomes[i]] as const,
    ),
  );
  test.each(cases)("%s (%s)", (_name, _phase, event, session, expected) => {
    const result = run(session, [event]);
    const did = result.effects.map((e) => (e.type === "send" ? `send ${e.message.type}` : e.type));
    expect([result.session.phase, ...did].join(": ")).toBe(expected);
  });
});

describe("session", () => {
  test("ends each phase in time", () => {
    const late = (session: Session, ms: number) => run(session, [{ type: "tick" }], AT + ms);
    expect(late(connecting, options.connectMsMax - 1).session.phase).toBe("connecting");
    expect(late(connecting, options.connectMsMax).session).toMatchObject({
      phase: "down",
      lastCode: "TIMEOUT",
    });
    expect(late(greeting, options.welcomeMsMax).session.lastCode).toBe("TIMEOUT");
    expect(late(open, 30_000 - 1).session.phase).toBe("open");
    expect(late(open, 30_000).session.lastMessage).toMatch(/no sign of life/);
    expect(late(draining, options.drainMsMax).session.phase).toBe("ended");
  });

  test("any message is a sign of life", () => {
    const heard = run(open, [message("ping")], AT + 25_000).session;
    expect(run(heard, [{ type: "tick" }], AT + 54_000).session.phase).toBe("open");
  });

  test("waits longer with every failure, up to the ceiling and with jitter", () => {
    let session = run(down, [START]).session;
    let nowMs = AT;
    const waitsMs: number[] = [];
    const shared = context();
    for (let i = 1; i <= 12; i++) {
      const why = { code: "UNREACHABLE", message: "" } as const;
      session = step(session, { type: "closed", connection: i, ...why }, nowMs, shared).session;
      waitsMs.push(session.untilMs - nowMs);
      nowMs = session.untilMs;
      session = step(session, { type: "tick" }, nowMs, shared).session;
      expect(session.connection).toBe(i + 1);
    }
    expect(Math.max(...waitsMs)).toBeLessThanOrEqual(125 + options.backoffMsMax);
    expect(Math.min(...waitsMs)).toBeGreaterThanOrEqual(125);
    expect(Math.max(...waitsMs.slice(5))).toBeGreaterThan(Math.max(...waitsMs.slice(0, 2)));
    expect(new Set(waitsMs).size).toBe(12);
  });

  test.each([
    ["told when to come again", { retryAfterMs: 5_000 }, 5_000],
    ["nothing told", {}, 0],
  ])("waits at least as long as it was told (%s)", (_what, told, leastMs) => {
    const closed = {
      type: "closed",
      connection: 1,
      code: "UNAVAILABLE",
      message: "",
      ...told,
    } as const;
    const waitMs = run(connecting, [closed]).session.untilMs - AT;
    expect(waitMs).toBeGreaterThanOrEqual(leastMs);
    expect(waitMs).toBeLessThan(leastMs + 1_000);
  });

  test("a bye says why, and a door that stays closed is not knocked at (revoked)", () => {
    const closed: SessionEvent = {
      type: "closed",
      connection: 1,
      code: "UNREACHABLE",
      message: "",
    };
    const { session } = run(open, [message("bye"), closed]);
    expect(session).toMatchObject({ phase: "down", lastCode: "REVOKED", bye: null });
    expect(session.untilMs - AT).toBeGreaterThanOrEqual(options.refusedMs);
  });

  test("a session that lasted starts the backoff anew", () => {
    const closed: SessionEvent = {
      type: "closed",
      connection: 1,
      code: "UNREACHABLE",
      message: "",
    };
    const worn: Session = { ...open, attempt: 9 };
    expect(run(worn, [closed], AT + 50).session.attempt).toBe(10);
    expect(run(worn, [closed], AT + options.stableMs).session.attempt).toBe(1);
  });

  test("only the latest report is sent, stamped with what was taken over", () => {
    const report = (atMs: number): SessionEvent => ({
      type: "report",
      report: reportFacts(1, atMs),
    });
    const first = run(open, [report(1), report(2), report(3)]);
    const second = run(first.session, [{ type: "took", what: "routes", version: 6 }], AT + 250);
    const sent = [...first.effects, ...second.effects].map(
      (e) => e.type === "send" && e.message.type === "report" && e.message.body,
    );
    expect(sent).toMatchObject([
      { sample: { atMs: 1 }, routesVersion: 0 },
      { sample: { atMs: 3 }, routesVersion: 6 },
    ]);
  });

  test("an unacknowledged batch is sent again (time passed, or a new connection)", () => {
    const sent = run(open, [RECORD]).session;
    expect(run(sent, [{ type: "tick" }], AT + 9_999).effects).toEqual([]);
    const again = run(sent, [message("ping"), { type: "tick" }], AT + 10_000).effects;
    expect(again).toMatchObject([{ message: { type: "pong" } }, { message: { body: { seq: 1 } } }]);
  });

  test("a batch that arrived before the connection broke is not sent again", () => {
    const sent = run(open, [
      RECORD,
      { type: "closed", connection: 1, code: "UNREACHABLE", message: "" },
    ]);
    const shared = context();
    const nowMs = sent.session.untilMs;
    let session = step(sent.session, { type: "tick" }, nowMs, shared).session;
    session = step(session, { ...CONNECTED, connection: 2 }, nowMs, shared).session;
    const welcomed = step(session, { ...welcome(1), connection: 2 } as SessionEvent, nowMs, shared);
    expect(welcomed.effects).toEqual([]);
    expect(welcomed.session.outbox.underWay).toBeNull();
  });

  test("sends nothing but signs of life while congested, and all of it afterwards", () => {
    const stuck = run(open, [
      { type: "congested", connection: 1 },
      RECORD,
      { type: "report", report: reportFacts() },
      { type: "ask", id: 1, body: { kind: "model" }, deadlineMs: AT + 9_000 },
    ]);
    expect(stuck.effects).toEqual([]);
    const drained = run(stuck.session, [{ type: "drained", connection: 1 }]);
    expect(drained.effects.map((e) => e.type === "send" && e.message.type)).toEqual([
      "report",
      "records",
      "request",
    ]);
    const pings = run(stuck.session, [message("ping")], AT + 29_000).session;
    expect(run(pings, [{ type: "tick" }], AT + 30_000).session.lastMessage).toMatch(
      /takes no bytes/,
    );
  });

  test("requests beyond the limit are refused at once, others asked again on a new connection", () => {
    const ask = (id: number): SessionEvent => ({
      type: "ask",
      id,
      body: { kind: "model" },
      deadlineMs: AT + 60_000,
    });
    const asked = run(open, [ask(1), ask(2), ask(3), ask(4)]);
    expect(asked.effects.at(-1)).toMatchObject({
      type: "settle",
      id: 4,
      result: { code: "RATE_LIMITED" },
    });
    const closed = run(asked.session, [
      { type: "closed", connection: 1, code: "UNREACHABLE", message: "" },
    ]);
    expect([...closed.session.requests.waiting.values()].map((w) => w.sent)).toEqual([
      false,
      false,
      false,
    ]);
  });

  test("any events: it never spins, and speaks only on its present connection", () => {
    const connection = fc.constantFrom(0, 1, 2, 3);
    const any: fc.Arbitrary<SessionEvent> = fc.oneof(
      fc.constantFrom<SessionEvent>(START, { type: "tick" }, { type: "tick" }, RECORD),
      fc.constantFrom(...TABLE.map(([, event]) => event).filter((e) => e.type !== "stop")),
      connection.map((c): SessionEvent => ({ ...CONNECTED, connection: c }) as SessionEvent),
      connection.map((c): SessionEvent => ({ ...welcome(), connection: c }) as SessionEvent),
      fc.constant<SessionEvent>({ type: "record", demand: [], outcomes: [outcome("h", 1)] }),
    );
    const script = fc.array(fc.tuple(any, fc.integer({ min: 0, max: 12_000 })), { maxLength: 80 });
    fc.assert(
      fc.property(script, (events) => {
        let session = newSession(0, HAVE);
        let nowMs = 0;
        const shared = context();
        for (const [event, waitMs] of events) {
          nowMs += waitMs;
          const before = session;
          const result = step(session, event, nowMs, shared);
          session = result.session;
          expect(session.connection - before.connection).toBeLessThanOrEqual(1);
          for (const effect of result.effects)
            if (effect.type === "send") expect(effect.connection).toBe(session.connection);
          expect(nextTickMs(session, options)).toBeGreaterThan(nowMs);
        }
      }),
    );
  });
});

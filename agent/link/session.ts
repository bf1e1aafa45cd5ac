/**
 * The agent's session with the coordinator as a state machine: what to do about connecting,
 * greeting, heartbeats, reports, records and requests, and when. It owns no socket and no timer:
 * `Link` carries its effects out over WebSocket, the simulator over a lossy network.
 *
 * down → connecting → greeting → open → down …, until stopped: open → draining → ended.
 * Events of an earlier connection are ignored by the connection's number.
 */
import type { DemandBin, Outcome } from "../../shared/domain.ts";
import { ERRORS, type ErrorCode } from "../../shared/errors.ts";
import type { Hello, Report, RequestBody } from "../../shared/protocol/bodies.ts";
import type { DownMessage, MessageOf, UpMessage } from "../../shared/protocol/messages.ts";
import { PROTOCOL } from "../../shared/protocol/versions.ts";
import { unreachable } from "../../shared/runtime/assert.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { backoffMs } from "../../shared/runtime/retry.ts";
import * as box from "./outbox.ts";
import * as asking from "./requests.ts";

/** The session itself knows the protocol and what was taken over. */
type Stamped = "protocol" | "desiredVersion" | "routesVersion" | "membersEpoch";
export type HelloFacts = Omit<Hello, Stamped>;
export type ReportFacts = Omit<Report, Stamped>;

/** What the coordinator pushes, level-triggered. */
export type Pushed = "desired" | "routes" | "members";
export type Have = Record<Pushed, number>;

export type SessionOptions = {
  /** Limits of one attempt: to connect, and to be welcomed. */
  connectMsMax: number;
  welcomeMsMax: number;
  /** Silence, in heartbeat periods, after which the connection is given up. */
  silentPeriodsMax: number;
  /** Ceiling of the backoff: higher spreads a returning fleet more, and brings it back later. */
  backoffMsMax: number;
  /** Wait after a refusal that a retry will hardly cure (revoked, no common version …). */
  refusedMs: number;
  /** A session that lasted this long resets the backoff. */
  stableMs: number;
  /** Least time between two reports, two batches of records. */
  reportGapMs: number;
  recordsGapMs: number;
  /** When a batch that was not acknowledged is sent again on the same connection. */
  recordsAgainMs: number;
  /** How long the connection may take no bytes before it is given up. */
  congestedMsMax: number;
  /** How long stopping waits for records to be acknowledged. */
  drainMsMax: number;
  requestsMax: number;
  outbox: box.OutboxLimits;
};

export const SESSION_DEFAULTS: SessionOptions = {
  connectMsMax: 10_000,
  welcomeMsMax: 10_000,
  silentPeriodsMax: 3,
  backoffMsMax: 6_000,
  refusedMs: 30_000,
  stableMs: 10_000,
  reportGapMs: 250,
  recordsGapMs: 250,
  recordsAgainMs: 10_000,
  congestedMsMax: 30_000,
  drainMsMax: 2_000,
  requestsMax: 256,
  outbox: { demandMax: 50_000, outcomesMax: 20_000 },
};

export type Session = {
  readonly phase: "down" | "connecting" | "greeting" | "open" | "draining" | "ended";
  /** Number of the present or last connection. */
  readonly connection: number;
  /** End of the phase by time: next attempt, or giving up; infinite when open. */
  readonly untilMs: number;
  /** Failed attempts in a row. */
  readonly attempt: number;
  readonly openedMs: number;
  readonly heardMs: number;
  readonly heartbeatMs: number;
  readonly congestedMs: number | null;
  readonly have: Have;
  readonly latest: ReportFacts | null;
  readonly reportDue: boolean;
  readonly reportedMs: number;
  readonly recordedMs: number;
  readonly outbox: box.Outbox;
  readonly requests: asking.Requests;
  /** Why the last connection ended. */
  readonly lastCode: ErrorCode | null;
  readonly lastMessage: string;
  /** What the coordinator said before it ends this connection. */
  readonly bye: { code: ErrorCode; message: string } | null;
};

export type SessionEvent =
  | { type: "start" }
  | { type: "tick" }
  | { type: "connected"; connection: number; hello: HelloFacts }
  /** The attempt failed, or the connection ended. */
  | {
      type: "closed";
      connection: number;
      code: ErrorCode;
      message: string;
      retryAfterMs?: number;
    }
  | { type: "message"; connection: number; message: DownMessage }
  /** A frame that must not be let in. */
  | { type: "refused"; connection: number; code: ErrorCode; message: string }
  | { type: "congested"; connection: number }
  | { type: "drained"; connection: number }
  | { type: "report"; report: ReportFacts }
  | { type: "record"; demand: readonly DemandBin[]; outcomes: readonly Outcome[] }
  | { type: "ask"; id: number; body: RequestBody; deadlineMs: number }
  | { type: "forget"; id: number }
  /** A pushed state is in force now. */
  | { type: "took"; what: Pushed; version: number }
  | { type: "stop" };

export type SessionEffect =
  | { type: "connect"; connection: number }
  | { type: "close"; connection: number; reason: string }
  | { type: "send"; connection: number; message: UpMessage }
  | { type: "deliver"; message: MessageOf<Pushed> }
  | ({ type: "settle" } & asking.Settled);

export type Step = { session: Session; effects: SessionEffect[] };
export type SessionContext = { random: Random; options: SessionOptions };

const NEVER = Number.POSITIVE_INFINITY;
const LONG_AGO = Number.NEGATIVE_INFINITY;
/** Trying again soon would be knocking at a closed door. */
const HARDLY_CURED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "REVOKED",
  "FORBIDDEN",
  "UNAUTHENTICATED",
  "CA_MISMATCH",
  "PROTOCOL",
  "CONFLICT",
]);

/** A session that takes in what it will have to send, and connects once it is started. */
export function newSession(nowMs: number, have: Have): Session {
  return {
    phase: "down",
    connection: 0,
    untilMs: NEVER,
    attempt: 0,
    openedMs: LONG_AGO,
    heardMs: LONG_AGO,
    heartbeatMs: 0,
    congestedMs: null,
    have,
    latest: null,
    reportDue: false,
    reportedMs: LONG_AGO,
    recordedMs: LONG_AGO,
    outbox: box.EMPTY_OUTBOX,
    requests: asking.noRequests(nowMs),
    lastCode: null,
    lastMessage: "",
    bye: null,
  };
}

export function isOpen(session: Session): boolean {
  return session.phase === "open" || session.phase === "draining";
}

/** What happens next: the new state, and what is to be carried out in this order. */
export function step(
  session: Session,
  event: SessionEvent,
  nowMs: number,
  context: SessionContext,
): Step {
  if (session.phase === "ended") return { session, effects: [] };
  const isStale = "connection" in event && !isCurrent(session, event);
  const first = isStale ? still(session) : react(session, event, nowMs, context);
  const timed = onTime(first.session, nowMs, context);
  const flushed = flush(timed.session, nowMs, context.options);
  return {
    session: flushed.session,
    effects: [...first.effects, ...timed.effects, ...flushed.effects],
  };
}

/** When a tick is due, if nothing else happens before. */
export function nextTickMs(session: Session, options: SessionOptions): number {
  const { phase, outbox } = session;
  if (phase === "ended") return NEVER;
  const canSend = isOpen(session) && session.congestedMs === null;
  let next = Math.min(session.untilMs, asking.nextMs(session.requests, canSend));
  if (isOpen(session)) next = Math.min(next, silentMs(session, options));
  if (session.congestedMs !== null)
    next = Math.min(next, session.congestedMs + options.congestedMsMax);
  if (canSend && session.reportDue) next = Math.min(next, session.reportedMs + options.reportGapMs);
  if (canSend && !box.isEmpty(outbox)) next = Math.min(next, recordsMs(session, options));
  return next;
}

function isCurrent(session: Session, event: { connection: number; type: string }): boolean {
  if (event.connection !== session.connection || session.phase === "down") return false;
  return (
    event.type === "closed" || (event.type === "connected") === (session.phase === "connecting")
  );
}

function react(
  session: Session,
  event: SessionEvent,
  nowMs: number,
  context: SessionContext,
): Step {
  const { options } = context;
  switch (event.type) {
    case "start":
      return still(session.connection > 0 ? session : { ...session, untilMs: nowMs });
    case "tick":
      return still(session);
    case "connected":
      return greet(session, event.hello, nowMs, options);
    case "closed":
      return lost(session, event, nowMs, context);
    case "refused":
      return giveUp(session, event.code, event.message, nowMs, context);
    case "message":
      return onMessage({ ...session, heardMs: nowMs }, event.message, nowMs, context);
    case "congested":
      return still({ ...session, congestedMs: session.congestedMs ?? nowMs });
    case "drained":
      return still({ ...session, congestedMs: null });
    case "report":
      return still({ ...session, latest: event.report, reportDue: true });
    case "record": {
      const { demand, outcomes } = event;
      return still({
        ...session,
        outbox: box.add(session.outbox, demand, outcomes, options.outbox),
      });
    }
    case "ask": {
      const asked = asking.ask(session.requests, event.id, event, options.requestsMax);
      return settling(session, asked);
    }
    case "forget":
      return still({ ...session, requests: asking.forget(session.requests, event.id) });
    case "took": {
      const have = { ...session.have, [event.what]: event.version };
      return still({ ...session, have, reportDue: session.latest !== null });
    }
    case "stop":
      return stop(session, nowMs, options);
    default:
      return unreachable(event);
  }
}

function greet(session: Session, facts: HelloFacts, nowMs: number, options: SessionOptions): Step {
  const body: Hello = { ...facts, protocol: PROTOCOL, ...stamps(session.have) };
  return {
    session: { ...session, phase: "greeting", untilMs: nowMs + options.welcomeMsMax },
    effects: [send(session, { type: "hello", body })],
  };
}

function onMessage(
  session: Session,
  message: DownMessage,
  nowMs: number,
  context: SessionContext,
): Step {
  if (message.type === "bye") {
    const code = message.body.code in ERRORS ? (message.body.code as ErrorCode) : "UNAVAILABLE";
    return still({ ...session, bye: { code, message: message.body.message } });
  }
  if (message.type === "welcome") {
    if (session.phase !== "greeting")
      return giveUp(session, "PROTOCOL", "welcomed twice", nowMs, context);
    const { heartbeatMs, lastSeq } = message.body;
    const outbox = box.acknowledge(box.disconnected(session.outbox), lastSeq);
    const opened = { phase: "open", untilMs: NEVER, openedMs: nowMs, heartbeatMs } as const;
    const fresh = { outbox, reportDue: session.latest !== null, lastCode: null, lastMessage: "" };
    return still({ ...session, ...opened, ...fresh });
  }
  if (!isOpen(session))
    return giveUp(session, "PROTOCOL", `${message.type} before welcome`, nowMs, context);
  switch (message.type) {
    case "desired":
    case "routes":
    case "members":
      return { session, effects: [{ type: "deliver", message }] };
    case "ack":
      return still({ ...session, outbox: box.acknowledge(session.outbox, message.body.seq) });
    case "reply":
      return settling(session, asking.answered(session.requests, message.body));
    case "ping": {
      const pong = { type: "pong", body: { at: message.body.at } } as const;
      return { session, effects: [send(session, pong)] };
    }
    default:
      return unreachable(message);
  }
}

/** The connection ended: when to try again. A bye says why better than the end that follows it. */
function lost(
  session: Session,
  why: { code: ErrorCode; message: string; retryAfterMs?: number },
  nowMs: number,
  { random, options }: SessionContext,
): Step {
  if (session.phase === "draining") return end({ ...session, phase: "down" });
  const { code, message } = session.bye ?? why;
  const lasted = isOpen(session) && nowMs - session.openedMs >= options.stableMs;
  const attempt = lasted ? 0 : session.attempt;
  const refusedMs = HARDLY_CURED.has(code) ? options.refusedMs : 0;
  const leastMs = Math.max(refusedMs, why.retryAfterMs ?? 0);
  const jitterMs = backoffMs(attempt, random, { baseMs: 250, maxMs: options.backoffMsMax });
  return still({
    ...session,
    phase: "down",
    untilMs: nowMs + leastMs + jitterMs,
    attempt: attempt + 1,
    congestedMs: null,
    requests: asking.unsent(session.requests),
    lastCode: code,
    lastMessage: message,
    bye: null,
  });
}

/** Closes from this side and does not wait for the other's answer. */
function giveUp(
  session: Session,
  code: ErrorCode,
  message: string,
  nowMs: number,
  context: SessionContext,
): Step {
  const { connection } = session;
  const after = lost(session, { code, message }, nowMs, context);
  return {
    session: after.session,
    effects: [{ type: "close", connection, reason: message }, ...after.effects],
  };
}

function stop(session: Session, nowMs: number, options: SessionOptions): Step {
  if (session.phase === "open" && !box.isEmpty(session.outbox))
    return still({ ...session, phase: "draining", untilMs: nowMs + options.drainMsMax });
  return end(session);
}

function end(session: Session): Step {
  const { connection } = session;
  const effects: SessionEffect[] =
    session.phase === "down" ? [] : [{ type: "close", connection, reason: "stopped" }];
  const settled = [...session.requests.waiting.keys()].map((id): SessionEffect => {
    const result = { ok: false, code: "UNREACHABLE", message: "the agent stops" } as const;
    return { type: "settle", id, result };
  });
  return {
    session: {
      ...session,
      phase: "ended",
      untilMs: NEVER,
      requests: { ...session.requests, waiting: new Map() },
    },
    effects: [...effects, ...settled],
  };
}

/** What the time alone brings about. */
function onTime(session: Session, nowMs: number, context: SessionContext): Step {
  const { options } = context;
  const expired = settling(session, asking.expired(session.requests, nowMs));
  const ended = byDeadline(expired.session, nowMs, context, options);
  return { session: ended.session, effects: [...expired.effects, ...ended.effects] };
}

function byDeadline(
  session: Session,
  nowMs: number,
  context: SessionContext,
  options: SessionOptions,
): Step {
  const late = nowMs >= session.untilMs;
  switch (session.phase) {
    case "down": {
      if (!late) return still(session);
      const connection = session.connection + 1;
      const untilMs = nowMs + options.connectMsMax;
      return {
        session: { ...session, phase: "connecting", connection, untilMs },
        effects: [{ type: "connect", connection }],
      };
    }
    case "connecting":
      return late
        ? giveUp(session, "TIMEOUT", "no connection in time", nowMs, context)
        : still(session);
    case "greeting":
      return late
        ? giveUp(session, "TIMEOUT", "no welcome in time", nowMs, context)
        : still(session);
    case "draining":
      if (late || box.isEmpty(session.outbox)) return end(session);
      return whileOpen(session, nowMs, context);
    case "open":
      return whileOpen(session, nowMs, context);
    case "ended":
      return still(session);
    default:
      return unreachable(session.phase);
  }
}

function whileOpen(session: Session, nowMs: number, context: SessionContext): Step {
  const { options } = context;
  if (nowMs >= silentMs(session, options))
    return giveUp(session, "TIMEOUT", "no sign of life from the coordinator", nowMs, context);
  if (session.congestedMs !== null && nowMs >= session.congestedMs + options.congestedMsMax)
    return giveUp(session, "TIMEOUT", "the connection takes no bytes", nowMs, context);
  return still(session);
}

/** Sends what waits and may go. */
function flush(session: Session, nowMs: number, options: SessionOptions): Step {
  if (!isOpen(session) || session.congestedMs !== null) return still(session);
  const effects: SessionEffect[] = [];
  let next = session;
  if (next.reportDue && next.latest && nowMs >= next.reportedMs + options.reportGapMs) {
    const body: Report = { ...next.latest, ...stamps(next.have) };
    effects.push(send(next, { type: "report", body }));
    next = { ...next, reportDue: false, reportedMs: nowMs };
  }
  if (!box.isEmpty(next.outbox) && nowMs >= recordsMs(next, options)) {
    const { outbox, records } = box.send(next.outbox, nowMs);
    if (records) effects.push(send(next, { type: "records", body: records }));
    next = { ...next, outbox, recordedMs: nowMs };
  }
  const asked = asking.due(next.requests, nowMs);
  for (const body of asked.send) effects.push(send(next, { type: "request", body }));
  return { session: { ...next, requests: asked.requests }, effects };
}

/** When records may go next: after the gap, and not again before their time. */
function recordsMs({ recordedMs, outbox }: Session, options: SessionOptions): number {
  const gapMs = recordedMs + options.recordsGapMs;
  const sentMs = outbox.underWay?.sentMs ?? null;
  return sentMs === null ? gapMs : Math.max(gapMs, sentMs + options.recordsAgainMs);
}

function silentMs(session: Session, options: SessionOptions): number {
  return session.heardMs + session.heartbeatMs * options.silentPeriodsMax;
}

function stamps(have: Have) {
  return {
    desiredVersion: have.desired,
    routesVersion: have.routes,
    membersEpoch: have.members,
  };
}

function send(session: Session, message: UpMessage): SessionEffect {
  return { type: "send", connection: session.connection, message };
}

function still(session: Session): Step {
  return { session, effects: [] };
}

function settling(
  session: Session,
  { requests, settled }: { requests: asking.Requests; settled: asking.Settled[] },
): Step {
  const effects = settled.map((s): SessionEffect => ({ type: "settle", ...s }));
  return { session: { ...session, requests }, effects };
}

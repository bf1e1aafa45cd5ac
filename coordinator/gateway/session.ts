/**
 * The coordinator's side of one agent's session as a state machine: greeting, heartbeats, which
 * pushed state the agent still lacks, records one batch at a time, slow consumers. It owns no
 * socket and no timer: `Sessions` carries its effects out, the simulator drives it too.
 *
 * greeting → open → closed. Pushed states are level-triggered: what is wanted is a version, and
 * it is sent until the agent's hello or report shows it.
 */
import type { HostId } from "../../shared/domain.ts";
import type { ErrorCode } from "../../shared/errors.ts";
import type { Hello, Records, Reply, Report, Request } from "../../shared/protocol/bodies.ts";
import type { DownMessage, UpMessage } from "../../shared/protocol/messages.ts";
import { negotiate, PROTOCOL } from "../../shared/protocol/versions.ts";
import { unreachable } from "../../shared/runtime/assert.ts";

export type Pushed = "desired" | "routes" | "members";
export const PUSHED: readonly Pushed[] = ["desired", "members", "routes"];

export type AgentSessionOptions = {
  heartbeatMs: number;
  /** Silence, in heartbeat periods, after which the agent is given up. */
  silentPeriodsMax: number;
  helloMsMax: number;
  /** Least time between two versions of one pushed state: a burst of changes is one message. */
  pushGapMs: number;
  /** Further spacing by size: a pushed state takes at most this share of a thin link. */
  pushBytesPerSecond: number;
  /** When a pushed state that no report has shown yet is sent again. */
  pushAgainMs: number;
  requestsMax: number;
  /** Bytes unsent above which nothing more is pushed, and above which the agent is given up. */
  bufferedBytesSoft: number;
  bufferedBytesMax: number;
  /** How long it may stay above the soft mark. */
  bufferedMsMax: number;
};

export const AGENT_SESSION_DEFAULTS: AgentSessionOptions = {
  heartbeatMs: 10_000,
  silentPeriodsMax: 3,
  helloMsMax: 10_000,
  pushGapMs: 200,
  pushBytesPerSecond: 1 << 20,
  pushAgainMs: 10_000,
  requestsMax: 32,
  bufferedBytesSoft: 256 << 10,
  bufferedBytesMax: 48 << 20,
  bufferedMsMax: 15_000,
};

type Wanted = { readonly version: number; readonly bytes: number };
type Sent = { readonly version: number; readonly bytes: number; readonly atMs: number };

export type AgentSession = {
  readonly id: string;
  readonly host: HostId;
  readonly phase: "greeting" | "open" | "closed";
  readonly startedMs: number;
  readonly heardMs: number;
  readonly pingMs: number;
  readonly bootId: string | null;
  readonly protocol: number;
  /** What the agent last said it has; null before its hello. */
  readonly have: Readonly<Record<Pushed, number | null>>;
  readonly want: Readonly<Record<Pushed, Wanted | null>>;
  readonly sent: Readonly<Record<Pushed, Sent | null>>;
  /** Highest records number stored, and the one that is being stored. */
  readonly stored: number;
  readonly storing: number | null;
  readonly requests: number;
  readonly bufferedBytes: number;
  /** Since when the agent has been slow. */
  readonly slowMs: number | null;
};

export type AgentSessionEvent =
  | { type: "tick" }
  /** `lastSeq`: highest stored records number of its boot. `chance` (0..1) spreads the pings. */
  | { type: "hello"; hello: Hello; lastSeq: number; chance: number }
  | { type: "message"; message: Exclude<UpMessage, { type: "hello" }> }
  | { type: "want"; what: Pushed; version: number; bytes: number }
  | { type: "stored"; seq: number; ok: boolean }
  | { type: "replied"; reply: Reply }
  | { type: "buffered"; bytes: number }
  /** Ends the session: a refused frame, a revoked host, a newer session of the host. */
  | { type: "end"; code: ErrorCode; message: string };

export type AgentSessionEffect =
  | { type: "send"; message: DownMessage }
  /** Send the wanted state of this kind as it is now. */
  | { type: "push"; what: Pushed }
  | { type: "opened"; hello: Hello }
  | { type: "report"; report: Report }
  | { type: "store"; records: Records }
  | { type: "answer"; request: Request }
  /** Say bye, then close. */
  | { type: "close"; code: ErrorCode; message: string };

export type AgentStep = { session: AgentSession; effects: AgentSessionEffect[] };

const NEVER = Number.POSITIVE_INFINITY;
const NONE = { desired: null, routes: null, members: null };

export function newAgentSession(id: string, host: HostId, nowMs: number): AgentSession {
  return {
    id,
    host,
    phase: "greeting",
    startedMs: nowMs,
    heardMs: nowMs,
    pingMs: NEVER,
    bootId: null,
    protocol: 0,
    have: NONE,
    want: NONE,
    sent: NONE,
    stored: 0,
    storing: null,
    requests: 0,
    bufferedBytes: 0,
    slowMs: null,
  };
}

export function stepAgent(
  session: AgentSession,
  event: AgentSessionEvent,
  nowMs: number,
  options: AgentSessionOptions,
): AgentStep {
  if (session.phase === "closed") return still(session);
  const first = react(session, event, nowMs, options);
  const then = onTime(first.session, nowMs, options);
  return { session: then.session, effects: [...first.effects, ...then.effects] };
}

/** When a tick is due, if nothing else happens before. */
export function nextAgentTickMs(session: AgentSession, options: AgentSessionOptions): number {
  if (session.phase === "closed") return NEVER;
  if (session.phase === "greeting") return session.startedMs + options.helloMsMax;
  let next = Math.min(session.pingMs, silentMs(session, options));
  if (session.slowMs !== null) return Math.min(next, session.slowMs + options.bufferedMsMax);
  for (const what of PUSHED) next = Math.min(next, pushMs(session, what, options));
  return next;
}

function react(
  session: AgentSession,
  event: AgentSessionEvent,
  nowMs: number,
  options: AgentSessionOptions,
): AgentStep {
  switch (event.type) {
    case "tick":
      return still(session);
    case "hello":
      return onHello(session, event, nowMs, options);
    case "message":
      return onMessage({ ...session, heardMs: nowMs }, event.message, options);
    case "want": {
      const { version, bytes } = event;
      return still({ ...session, want: { ...session.want, [event.what]: { version, bytes } } });
    }
    case "stored": {
      const stored = event.ok ? Math.max(session.stored, event.seq) : session.stored;
      const done = { ...session, stored, storing: null };
      return event.ok ? acknowledge(done) : still(done);
    }
    case "replied": {
      const message = { type: "reply", body: event.reply } as const;
      const requests = session.requests - 1;
      return { session: { ...session, requests }, effects: [{ type: "send", message }] };
    }
    case "buffered": {
      const { bytes } = event;
      const slowMs = bytes > options.bufferedBytesSoft ? (session.slowMs ?? nowMs) : null;
      return still({ ...session, bufferedBytes: bytes, slowMs });
    }
    case "end":
      return close(session, event.code, event.message);
    default:
      return unreachable(event);
  }
}

function onHello(
  session: AgentSession,
  { hello, lastSeq, chance }: Extract<AgentSessionEvent, { type: "hello" }>,
  nowMs: number,
  options: AgentSessionOptions,
): AgentStep {
  if (session.phase !== "greeting") return close(session, "PROTOCOL", "a second hello");
  if (hello.host !== session.host)
    return close(session, "FORBIDDEN", `the certificate is of ${session.host}, not ${hello.host}`);
  const agreed = negotiate(hello.protocol, PROTOCOL);
  if (!agreed.ok) return close(session, "PROTOCOL", agreed.message);
  const body = {
    protocol: agreed.version,
    sessionId: session.id,
    heartbeatMs: options.heartbeatMs,
    lastSeq,
  };
  return {
    session: {
      ...session,
      phase: "open",
      heardMs: nowMs,
      pingMs: nowMs + options.heartbeatMs * (0.5 + chance / 2),
      bootId: hello.bootId,
      protocol: agreed.version,
      have: versionsOf(hello),
      stored: lastSeq,
    },
    effects: [
      { type: "send", message: { type: "welcome", body } },
      { type: "opened", hello },
    ],
  };
}

function onMessage(
  session: AgentSession,
  message: Exclude<UpMessage, { type: "hello" }>,
  options: AgentSessionOptions,
): AgentStep {
  if (session.phase !== "open") return close(session, "PROTOCOL", `${message.type} before hello`);
  switch (message.type) {
    case "pong":
      return still(session);
    case "report":
      return {
        session: { ...session, have: versionsOf(message.body) },
        effects: [{ type: "report", report: message.body }],
      };
    case "records":
      return onRecords(session, message.body);
    case "request":
      return onRequest(session, message.body, options);
    default:
      return unreachable(message);
  }
}

/** Stored before acknowledged; one batch at a time, and none twice. */
function onRecords(session: AgentSession, records: Records): AgentStep {
  if (records.seq <= session.stored) return acknowledge(session);
  // The same batch again, or one out of turn: it comes again until it is acknowledged.
  if (session.storing !== null) return still(session);
  return {
    session: { ...session, storing: records.seq },
    effects: [{ type: "store", records }],
  };
}

function onRequest(
  session: AgentSession,
  request: Request,
  options: AgentSessionOptions,
): AgentStep {
  if (session.requests < options.requestsMax) {
    const requests = session.requests + 1;
    return { session: { ...session, requests }, effects: [{ type: "answer", request }] };
  }
  const message = "too many requests of this host at once";
  const body = { id: request.id, ok: false, code: "RATE_LIMITED", message, body: null };
  return { session, effects: [{ type: "send", message: { type: "reply", body } }] };
}

function onTime(session: AgentSession, nowMs: number, options: AgentSessionOptions): AgentStep {
  if (session.phase === "closed") return still(session);
  if (session.phase === "greeting") {
    const late = nowMs >= session.startedMs + options.helloMsMax;
    return late ? close(session, "TIMEOUT", "no hello in time") : still(session);
  }
  if (nowMs >= silentMs(session, options))
    return close(session, "TIMEOUT", "no sign of life from the agent");
  if (session.bufferedBytes > options.bufferedBytesMax)
    return close(session, "RATE_LIMITED", "the agent reads too slowly (bytes)");
  if (session.slowMs !== null && nowMs >= session.slowMs + options.bufferedMsMax)
    return close(session, "RATE_LIMITED", "the agent reads too slowly (time)");
  return push(session, nowMs, options);
}

/** Pings and what the agent lacks. */
function push(session: AgentSession, nowMs: number, options: AgentSessionOptions): AgentStep {
  const effects: AgentSessionEffect[] = [];
  let next = session;
  if (nowMs >= next.pingMs) {
    effects.push({ type: "send", message: { type: "ping", body: { at: Math.max(0, nowMs) } } });
    next = { ...next, pingMs: nowMs + options.heartbeatMs };
  }
  if (next.slowMs !== null) return { session: next, effects };
  for (const what of PUSHED) {
    const want = next.want[what];
    if (!want || nowMs < pushMs(next, what, options)) continue;
    effects.push({ type: "push", what });
    next = { ...next, sent: { ...next.sent, [what]: { ...want, atMs: nowMs } } };
  }
  return { session: next, effects };
}

/** When this state goes to the agent next; never when it has it. */
function pushMs(session: AgentSession, what: Pushed, options: AgentSessionOptions): number {
  const want = session.want[what];
  if (!want || session.have[what] === want.version) return NEVER;
  const sent = session.sent[what];
  if (!sent) return Number.NEGATIVE_INFINITY;
  const spacedMs = Math.max(options.pushGapMs, (sent.bytes / options.pushBytesPerSecond) * 1_000);
  const isSent = sent.version === want.version;
  return sent.atMs + (isSent ? Math.max(spacedMs, options.pushAgainMs) : spacedMs);
}

function silentMs(session: AgentSession, options: AgentSessionOptions): number {
  return session.heardMs + options.heartbeatMs * options.silentPeriodsMax;
}

function versionsOf(said: {
  desiredVersion: number;
  routesVersion: number;
  membersEpoch: number;
}): Record<Pushed, number> {
  return {
    desired: said.desiredVersion,
    routes: said.routesVersion,
    members: said.membersEpoch,
  };
}

function acknowledge(session: AgentSession): AgentStep {
  const message = { type: "ack", body: { seq: session.stored } } as const;
  return { session, effects: [{ type: "send", message }] };
}

function close(session: AgentSession, code: ErrorCode, message: string): AgentStep {
  return {
    session: { ...session, phase: "closed" },
    effects: [{ type: "close", code, message }],
  };
}

function still(session: AgentSession): AgentStep {
  return { session, effects: [] };
}

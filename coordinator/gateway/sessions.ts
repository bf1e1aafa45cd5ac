/**
 * The sessions of all agents: one per host, a newer one replaces the older. All decisions are
 * `stepAgent`'s (session.ts) and `admit`'s (admission.ts); here their effects meet sockets, the
 * clock and the coordinator's handlers.
 */
import { randomUUID } from "node:crypto";
import type { Server } from "node:https";
import type { DemandBin, HostId, Outcome, RouteTable } from "../../shared/domain.ts";
import { type ErrorCode, PrestageError } from "../../shared/errors.ts";
import type {
  DesiredState,
  Hello,
  MemberList,
  Records,
  Reply,
  ReplyBody,
  Report,
  Request,
  RequestBody,
} from "../../shared/protocol/bodies.ts";
import type { BucketLimit } from "../../shared/protocol/bucket.ts";
import type { DownMessage, MessageType, UpMessage } from "../../shared/protocol/messages.ts";
import { Wire } from "../../shared/protocol/wire.ts";
import { assert } from "../../shared/runtime/assert.ts";
import { type Clock, every } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Metrics } from "../../shared/runtime/metrics.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { TaskGroup } from "../../shared/runtime/tasks.ts";
import { type Admission, admit, newAdmission } from "./admission.ts";
import { PushedState } from "./pushed-state.ts";
import {
  AGENT_SESSION_DEFAULTS,
  type AgentSession,
  type AgentSessionEffect,
  type AgentSessionEvent,
  type AgentSessionOptions,
  newAgentSession,
  nextAgentTickMs,
  PUSHED,
  type Pushed,
  stepAgent,
} from "./session.ts";
import { SessionMetrics } from "./session-metrics.ts";
import { type AgentSocket, acceptAgents, type Identify } from "./ws-server.ts";

export type SessionHandlers = {
  connected(host: HostId, hello: Hello): void;
  disconnected(host: HostId): void;
  report(host: HostId, report: Report): void;
  /** Resolves when it is durable: the acknowledgement goes out then. Rejected: it comes again. */
  records(
    host: HostId,
    bootId: string,
    seq: number,
    demand: DemandBin[],
    outcomes: Outcome[],
  ): Promise<void>;
  /** Rejects with a PrestageError, whose code the agent's caller gets. */
  request(host: HostId, body: RequestBody): Promise<ReplyBody>;
  /** Highest stored records number of the boot; 0 = none. */
  lastSeq(host: HostId, bootId: string): number;
};

export type SessionsDeps = {
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  identify: Identify;
  handlers: SessionHandlers;
};

export type SessionsOptions = {
  /** New sessions per second; higher brings a fleet back sooner and costs a handshake each. */
  accept: BucketLimit;
  sessionsMax: number;
  tickMs: number;
  session: AgentSessionOptions;
};

export const SESSIONS_DEFAULTS: SessionsOptions = {
  accept: { ratePerSecond: 100, burst: 200 },
  sessionsMax: 20_000,
  tickMs: 250,
  session: AGENT_SESSION_DEFAULTS,
};

/** Sessions told of a new state in one go, before others get their turn. */
const ANNOUNCED_AT_ONCE = 200;

type Live = {
  state: AgentSession;
  readonly wire: Wire<"up">;
  readonly socket: AgentSocket;
  dueMs: number;
};

export class Sessions {
  readonly #deps: SessionsDeps;
  readonly #options: SessionsOptions;
  readonly #metrics: SessionMetrics;
  readonly #live = new Set<Live>();
  readonly #byHost = new Map<HostId, Live>();
  readonly #pushed: PushedState;
  readonly #detach: (() => void)[] = [];
  /** Sessions that still have to be told of a new state. */
  readonly #announcing = new Map<Pushed, Live[]>();
  /** Batches being stored, which outlive a session. */
  readonly #storing = new Map<string, Promise<void>>();
  #admission: Admission;
  #group: TaskGroup | undefined;

  constructor(deps: SessionsDeps, options: Partial<SessionsOptions> = {}) {
    this.#deps = deps;
    this.#options = { ...SESSIONS_DEFAULTS, ...options };
    this.#metrics = new SessionMetrics(deps.metrics);
    this.#pushed = new PushedState((what, cause) =>
      deps.log.error({ what, err: cause }, "state cannot be sent to agents"),
    );
    this.#admission = newAdmission(this.#options.accept, this.#now());
  }

  /** Takes agents from this server. */
  attach(server: Server): void {
    const detach = acceptAgents(server, {
      identify: this.#deps.identify,
      admit: () => this.#admit(),
      refused: (code) => this.#metrics.refusedConnections.inc({ code }),
      accept: (host, socket) => this.accept(host, socket),
    });
    this.#detach.push(detach);
  }

  /** Serves sessions until the signal aborts; then closes them and waits for what is stored. */
  async run(signal: AbortSignal): Promise<void> {
    const group = new TaskGroup(signal);
    this.#group = group;
    group.start("session ticks", (inner) =>
      every(this.#deps.clock, this.#options.tickMs, inner, () => this.#tick()),
    );
    try {
      await group.done();
    } finally {
      for (const detach of this.#detach.splice(0)) detach();
      for (const live of [...this.#live]) {
        live.socket.close("coordinator stops");
        this.#gone(live);
      }
      this.#group = undefined;
    }
  }

  /** A connection of `host`, whose identity is proven. Its session begins with its hello. */
  accept(host: HostId, socket: AgentSocket): void {
    if (!this.#group || this.#group.signal.aborted) {
      socket.close("not running");
      return;
    }
    const nowMs = this.#now();
    const state = newAgentSession(randomUUID(), host, nowMs);
    const live: Live = { state, wire: new Wire("up"), socket, dueMs: nowMs };
    this.#live.add(live);
    socket.onMessage((bytes) => this.#receive(live, bytes));
    socket.onClose(() => this.#gone(live));
    this.#dispatch(live, { type: "tick" });
  }

  /** What the host should have, from now on and after every reconnect. */
  setDesired(host: HostId, desired: DesiredState): void {
    this.#pushed.setDesired(host, desired);
    const live = this.#byHost.get(host);
    if (live) this.#want(live, "desired");
  }

  setRoutes(table: RouteTable): void {
    this.#pushed.setRoutes(table);
    this.#announce("routes");
  }

  setMembers(list: MemberList): void {
    this.#pushed.setMembers(list);
    this.#announce("members");
  }

  /** Ends the host's sessions, with the reason for its operator. */
  disconnect(host: HostId, code: ErrorCode): void {
    if (code === "REVOKED") this.#pushed.forget(host);
    for (const live of [...this.#live])
      if (live.state.host === host)
        this.#dispatch(live, { type: "end", code, message: `ended by the coordinator: ${code}` });
  }

  /** Hosts with an open session. */
  hosts(): HostId[] {
    return [...this.#byHost.keys()];
  }

  #now(): number {
    return this.#deps.clock.monotonic();
  }

  #admit(): number | null {
    if (!this.#group || this.#group.signal.aborted) return 1_000;
    const { admission, retryAfterMs } = admit(this.#admission, this.#options.accept, this.#now());
    this.#admission = admission;
    return this.#live.size >= this.#options.sessionsMax ? 30_000 : retryAfterMs;
  }

  #tick(): void {
    const nowMs = this.#now();
    let bufferedBytes = 0;
    for (const live of [...this.#live]) {
      const bytes = live.socket.bufferedAmount;
      bufferedBytes += bytes;
      if (bytes > 0 || live.state.bufferedBytes > 0)
        this.#dispatch(live, { type: "buffered", bytes });
      else if (live.dueMs <= nowMs) this.#dispatch(live, { type: "tick" });
    }
    this.#metrics.bufferedBytes.set(bufferedBytes);
  }

  #receive(live: Live, bytes: Uint8Array): void {
    if (live.state.phase === "closed") return;
    const received = live.wire.receive(bytes, this.#now());
    if (received.kind === "dropped") {
      this.#metrics.droppedFrames.inc({ type: received.type });
      return;
    }
    if (received.kind === "refused") {
      const { code, at, type, message } = received;
      this.#metrics.refusedFrames.inc({ at });
      const { host } = live.state;
      this.#deps.log.warn({ host, at, type, reason: message }, "frame from agent refused");
      this.#dispatch(live, { type: "end", code, message });
      return;
    }
    const { message } = received;
    this.#metrics.received.inc({ type: message.type });
    this.#metrics.receivedBytes.inc({ type: message.type }, bytes.length);
    this.#guard(live, () => this.#dispatch(live, this.#eventOf(live, message)));
  }

  #eventOf(live: Live, message: UpMessage): AgentSessionEvent {
    if (message.type !== "hello") return { type: "message", message };
    const hello = message.body;
    const lastSeq = this.#deps.handlers.lastSeq(live.state.host, hello.bootId);
    return { type: "hello", hello, lastSeq, chance: this.#deps.random.next() };
  }

  #dispatch(live: Live, event: AgentSessionEvent): void {
    const options = this.#options.session;
    const { session, effects } = stepAgent(live.state, event, this.#now(), options);
    live.state = session;
    for (const effect of effects) this.#carryOut(live, effect);
    live.dueMs = nextAgentTickMs(live.state, options);
  }

  #carryOut(live: Live, effect: AgentSessionEffect): void {
    const { handlers } = this.#deps;
    switch (effect.type) {
      case "send":
        this.#send(live, effect.message);
        return;
      case "push":
        this.#push(live, effect.what);
        return;
      case "opened":
        this.#opened(live, effect.hello);
        return;
      case "report":
        handlers.report(live.state.host, effect.report);
        return;
      case "store":
        this.#start("store records", () => this.#store(live, effect.records));
        return;
      case "answer":
        this.#start("answer request", () => this.#answer(live, effect.request));
        return;
      case "close":
        this.#metrics.closed.inc({ code: effect.code });
        this.#send(live, { type: "bye", body: { code: effect.code, message: effect.message } });
        live.socket.close(effect.code);
        this.#gone(live);
        return;
    }
  }

  #opened(live: Live, hello: Hello): void {
    const { host, protocol } = live.state;
    live.wire.speak(protocol);
    const older = this.#byHost.get(host);
    if (older)
      this.#dispatch(older, { type: "end", code: "CONFLICT", message: "the host connected anew" });
    this.#byHost.set(host, live);
    this.#metrics.open.set(this.#byHost.size);
    this.#deps.log.debug({ host, protocol, software: hello.software }, "agent session open");
    this.#deps.handlers.connected(host, hello);
    for (const what of PUSHED) this.#want(live, what);
  }

  #gone(live: Live): void {
    if (!this.#live.delete(live)) return;
    const { host } = live.state;
    live.state = { ...live.state, phase: "closed" };
    if (this.#byHost.get(host) !== live) return;
    this.#byHost.delete(host);
    this.#metrics.open.set(this.#byHost.size);
    this.#deps.log.debug({ host }, "agent session ended");
    this.#guard(live, () => this.#deps.handlers.disconnected(host));
  }

  /** One batch is stored once, also when a new session brings it again meanwhile. */
  async #store(live: Live, records: Records): Promise<void> {
    const { host, bootId } = live.state;
    assert(bootId !== null, "records come after hello");
    const { seq, outcomes } = records;
    const demand = records.demand.filter((bin) => bin.host === host);
    const foreign = records.demand.length - demand.length;
    if (foreign > 0) this.#metrics.foreignRecords.inc(foreign);
    const key = `${host} ${bootId} ${seq}`;
    const running = this.#storing.get(key);
    const { handlers } = this.#deps;
    const stored =
      running ?? Promise.try(() => handlers.records(host, bootId, seq, demand, outcomes));
    if (!running) this.#storing.set(key, stored);
    try {
      await stored;
      this.#dispatch(live, { type: "stored", seq, ok: true });
    } catch (cause) {
      this.#deps.log.error({ host, seq, err: cause }, "records not stored");
      this.#dispatch(live, { type: "stored", seq, ok: false });
    } finally {
      if (!running) this.#storing.delete(key);
    }
  }

  async #answer(live: Live, { id, body }: Request): Promise<void> {
    const { host } = live.state;
    const startMs = this.#now();
    const reply = await Promise.try(() => this.#deps.handlers.request(host, body)).then(
      (answer): Reply => ({ id, ok: true, code: null, message: "", body: answer }),
      (cause: unknown): Reply => {
        const known = cause instanceof PrestageError;
        if (!known) this.#deps.log.error({ host, kind: body.kind, err: cause }, "request failed");
        const code = known ? cause.code : "INTERNAL";
        const message = known ? cause.message.slice(0, 500) : "the coordinator failed to answer";
        return { id, ok: false, code, message, body: null };
      },
    );
    this.#metrics.answered(body.kind, (this.#now() - startMs) / 1_000, reply.ok);
    this.#dispatch(live, { type: "replied", reply });
  }

  #want(live: Live, what: Pushed): void {
    const wanted = this.#pushed.of(what, live.state.host);
    if (!wanted) return;
    const { version, body } = wanted;
    this.#dispatch(live, { type: "want", what, version, bytes: body.length });
  }

  /** Tells every session, a slice at a time; a newer state starts over. */
  #announce(what: Pushed): void {
    const isRunning = this.#announcing.has(what);
    this.#announcing.set(what, [...this.#byHost.values()]);
    if (!isRunning) this.#announceSome(what);
  }

  #announceSome(what: Pushed): void {
    const waiting = this.#announcing.get(what) ?? [];
    for (const live of waiting.splice(0, ANNOUNCED_AT_ONCE)) this.#want(live, what);
    if (waiting.length === 0) this.#announcing.delete(what);
    else this.#deps.clock.after(0, () => this.#announceSome(what));
  }

  #push(live: Live, what: Pushed): void {
    const wanted = this.#pushed.of(what, live.state.host);
    if (wanted) this.#write(live, what, live.wire.wrap(what, wanted.body));
  }

  #send(live: Live, message: DownMessage): void {
    let bytes: Uint8Array;
    try {
      bytes = live.wire.encode(message);
    } catch (cause) {
      this.#deps.log.error({ type: message.type, err: cause }, "message cannot be sent");
      return;
    }
    this.#write(live, message.type, bytes);
  }

  #write(live: Live, type: MessageType, bytes: Uint8Array): void {
    live.socket.send(bytes);
    this.#metrics.sent.inc({ type });
    this.#metrics.sentBytes.inc({ type }, bytes.length);
  }

  #start(name: string, task: () => Promise<void>): void {
    this.#group?.start(name, task);
  }

  /** A failing handler ends the service in order, not the process in the middle of a callback. */
  #guard(live: Live, work: () => void): void {
    try {
      work();
    } catch (cause) {
      live.socket.close("failed");
      this.#start("agent message", async () => {
        throw cause;
      });
    }
  }
}

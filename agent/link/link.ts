/**
 * The agent's session with the coordinator, kept up for as long as it runs. All decisions are
 * `step`'s (session.ts); here its effects meet the transport, the clock and the handlers.
 */
import type { DemandBin, Outcome, RouteTable } from "../../shared/domain.ts";
import { DemandBin as DemandBinSchema, Outcome as OutcomeSchema } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import type {
  DesiredState,
  MemberList,
  ReplyBody,
  RequestBody,
  RequestKind,
} from "../../shared/protocol/bodies.ts";
import type { MessageOf, UpMessage } from "../../shared/protocol/messages.ts";
import { Wire } from "../../shared/protocol/wire.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Metrics } from "../../shared/runtime/metrics.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { TaskGroup } from "../../shared/runtime/tasks.ts";
import { Latest } from "./latest.ts";
import { LinkMetrics } from "./link-metrics.ts";
import {
  type Have,
  type HelloFacts,
  isOpen,
  newSession,
  nextTickMs,
  type Pushed,
  type ReportFacts,
  SESSION_DEFAULTS,
  type Session,
  type SessionEffect,
  type SessionEvent,
  type SessionOptions,
  step,
} from "./session.ts";
import type { Connection, Transport } from "./transport.ts";

export type LinkDeps = {
  transport: Transport;
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  /** Asked at each connection. */
  hello: () => HelloFacts;
};

export type LinkOptions = {
  /** Versions already in force at the start, e.g. routes read from disk; default none. */
  have?: Have;
  session?: Partial<SessionOptions>;
};

export type LinkStatus = {
  connected: boolean;
  phase: Session["phase"];
  /** Why the last connection ended; null while none has failed since the last welcome. */
  code: string | null;
  message: string;
  have: Have;
};

type Body<P extends Pushed> = MessageOf<P>["body"];
type Open = { number: number; abort: AbortController; wire: Wire<"down">; socket?: Connection };

export class Link {
  readonly #deps: LinkDeps;
  readonly #options: SessionOptions;
  readonly #metrics: LinkMetrics;
  readonly #desired: Latest<Body<"desired">>;
  readonly #routes: Latest<Body<"routes">>;
  readonly #members: Latest<Body<"members">>;
  readonly #answers = new Map<number, PromiseWithResolvers<ReplyBody>>();
  #session: Session;
  #group: TaskGroup | undefined;
  #open: Open | undefined;
  #events: SessionEvent[] = [];
  #stepping = false;
  #cancelTimer: () => void = () => {};
  #nextId = 1;
  #ended: PromiseWithResolvers<undefined> | undefined;

  constructor(deps: LinkDeps, options: LinkOptions = {}) {
    this.#deps = deps;
    this.#options = { ...SESSION_DEFAULTS, ...options.session };
    this.#session = newSession(this.#now(), options.have ?? { desired: 0, routes: 0, members: 0 });
    this.#metrics = new LinkMetrics(deps.metrics);
    this.#desired = this.#pushed("desired", (body) => body.version);
    this.#routes = this.#pushed("routes", (body) => body.version);
    this.#members = this.#pushed("members", (body) => body.epoch);
  }

  get connected(): boolean {
    return isOpen(this.#session);
  }

  status(): LinkStatus {
    const { phase, lastCode, lastMessage, have } = this.#session;
    return { connected: this.connected, phase, code: lastCode, message: lastMessage, have };
  }

  /** Keeps a session up until the signal aborts; then waits shortly for records to be stored. */
  async run(signal: AbortSignal): Promise<void> {
    const group = new TaskGroup();
    const ended = Promise.withResolvers<undefined>();
    this.#group = group;
    this.#ended = ended;
    const stop = () => this.#dispatch({ type: "stop" });
    signal.addEventListener("abort", stop, { once: true });
    // A failed task of the link stops the link; `done` below throws the failure.
    group.signal.addEventListener("abort", stop, { once: true });
    this.#dispatch(signal.aborted ? { type: "stop" } : { type: "start" });
    await ended.promise;
    signal.removeEventListener("abort", stop);
    this.#cancelTimer();
    group.stop();
    await group.done();
  }

  /** Replaces the report before, whether that was sent or not. */
  report(report: ReportFacts): void {
    this.#dispatch({ type: "report", report });
  }

  /** Kept until the coordinator has stored it; what the schema refuses is dropped and counted. */
  record(demand: readonly DemandBin[], outcomes: readonly Outcome[]): void {
    const bins = demand.filter((bin) => DemandBinSchema.safeParse(bin).success);
    const kept = outcomes.filter((outcome) => OutcomeSchema.safeParse(outcome).success);
    const invalid = demand.length - bins.length + outcomes.length - kept.length;
    if (invalid > 0) {
      this.#metrics.dropped.inc({ what: "invalid" }, invalid);
      this.#deps.log.error({ invalid }, "records do not fit their schema");
    }
    if (bins.length + kept.length > 0)
      this.#dispatch({ type: "record", demand: bins, outcomes: kept });
  }

  /** Asks until answered or out of time, over as many connections as it takes. */
  async request<K extends RequestKind>(
    body: Extract<RequestBody, { kind: K }>,
    { signal, timeoutMs = 30_000 }: { signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<Extract<ReplyBody, { kind: K }>> {
    signal?.throwIfAborted();
    if (this.#session.phase === "ended")
      throw new PrestageError("UNREACHABLE", "the link to the coordinator has stopped");
    const id = this.#nextId++;
    const answer = Promise.withResolvers<ReplyBody>();
    this.#answers.set(id, answer);
    const abort = () => {
      this.#dispatch({ type: "forget", id });
      answer.reject(signal?.reason);
    };
    signal?.addEventListener("abort", abort, { once: true });
    this.#dispatch({ type: "ask", id, body, deadlineMs: this.#now() + timeoutMs });
    try {
      const reply = await answer.promise;
      // The session lets no other kind through (requests.ts, resultOf).
      return reply as Extract<ReplyBody, { kind: K }>;
    } finally {
      this.#answers.delete(id);
      signal?.removeEventListener("abort", abort);
    }
  }

  /** The handler makes it so; when it throws, the state is not acknowledged and comes again. */
  onDesired(handler: (desired: DesiredState) => void | Promise<void>): void {
    this.#desired.add(handler);
  }

  onRoutes(handler: (table: RouteTable) => void | Promise<void>): void {
    this.#routes.add(handler);
  }

  onMembers(handler: (list: MemberList) => void | Promise<void>): void {
    this.#members.add(handler);
  }

  #now(): number {
    return this.#deps.clock.monotonic();
  }

  #pushed<P extends Pushed>(what: P, versionOf: (body: Body<P>) => number): Latest<Body<P>> {
    return new Latest<Body<P>>({
      took: (body) => this.#dispatch({ type: "took", what, version: versionOf(body) }),
      failed: (cause) => this.#deps.log.error({ what, err: cause }, "pushed state not taken over"),
    });
  }

  /** One event at a time: what happens while effects are carried out waits its turn. */
  #dispatch(event: SessionEvent): void {
    this.#events.push(event);
    if (this.#stepping) return;
    this.#stepping = true;
    const context = { random: this.#deps.random, options: this.#options };
    try {
      for (let next = this.#events.shift(); next; next = this.#events.shift()) {
        const before = this.#session;
        const { session, effects } = step(before, next, this.#now(), context);
        this.#session = session;
        this.#note(before, session);
        for (const effect of effects) this.#carryOut(effect);
      }
    } finally {
      this.#stepping = false;
    }
    this.#schedule();
  }

  #schedule(): void {
    this.#cancelTimer();
    if (this.#session.phase === "ended") this.#ended?.resolve(undefined);
    const waitMs = nextTickMs(this.#session, this.#options) - this.#now();
    this.#cancelTimer =
      waitMs === Number.POSITIVE_INFINITY
        ? () => {}
        : this.#deps.clock.after(Math.max(1, waitMs), () => this.#dispatch({ type: "tick" }));
  }

  #carryOut(effect: SessionEffect): void {
    switch (effect.type) {
      case "connect":
        this.#connect(effect.connection);
        return;
      case "close":
        if (this.#open?.number !== effect.connection) return;
        this.#open.abort.abort(new Error(effect.reason));
        this.#open.socket?.close(effect.reason);
        this.#open = undefined;
        return;
      case "send":
        this.#send(effect.connection, effect.message);
        return;
      case "deliver":
        this.#deliver(effect.message);
        return;
      case "settle": {
        const answer = this.#answers.get(effect.id);
        if (effect.result.ok) answer?.resolve(effect.result.body);
        else answer?.reject(new PrestageError(effect.result.code, effect.result.message));
        return;
      }
    }
  }

  #connect(number: number): void {
    const open: Open = { number, abort: new AbortController(), wire: new Wire("down") };
    this.#open = open;
    this.#metrics.attempts.inc();
    this.#group?.start("link connect", async () => {
      let socket: Connection;
      try {
        socket = await this.#deps.transport.connect({ signal: open.abort.signal });
      } catch (cause) {
        this.#closed(number, cause);
        return;
      }
      if (this.#open !== open) {
        socket.close("connected too late");
        return;
      }
      open.socket = socket;
      this.#listen(open, socket);
      this.#dispatch({ type: "connected", connection: number, hello: this.#deps.hello() });
    });
  }

  #closed(connection: number, cause: unknown): void {
    const known = cause instanceof PrestageError;
    const retryAfterMs = known ? cause.details.retryAfterMs : undefined;
    this.#dispatch({
      type: "closed",
      connection,
      code: known ? cause.code : "UNREACHABLE",
      message: cause instanceof Error ? cause.message : "connection failed",
      ...(typeof retryAfterMs === "number" ? { retryAfterMs } : {}),
    });
  }

  #listen({ number: connection, wire }: Open, socket: Connection): void {
    socket.onMessage((bytes) => {
      const received = wire.receive(bytes, this.#now());
      if (received.kind === "message") {
        this.#metrics.received.inc({ type: received.message.type });
        if (received.message.type === "welcome") wire.speak(received.message.body.protocol);
        this.#dispatch({ type: "message", connection, message: received.message });
      } else if (received.kind === "dropped") {
        this.#metrics.dropped.inc({ what: "rate" });
      } else {
        const { code, at, type, message } = received;
        this.#metrics.dropped.inc({ what: "refused" });
        this.#deps.log.error({ at, type, reason: message }, "frame from coordinator refused");
        this.#dispatch({ type: "refused", connection, code, message });
      }
    });
    socket.onDrain(() => this.#dispatch({ type: "drained", connection }));
    socket.onClose((why) => this.#closed(connection, why));
  }

  #send(connection: number, message: UpMessage): void {
    const open = this.#open;
    if (open?.number !== connection || !open.socket) return;
    let bytes: Uint8Array;
    try {
      bytes = open.wire.encode(message);
    } catch (cause) {
      this.#unsendable(message, cause);
      return;
    }
    this.#metrics.sent.inc({ type: message.type });
    if (!open.socket.send(bytes)) this.#dispatch({ type: "congested", connection });
  }

  /** A message of ours that the peer would refuse: a bug, or a value over a limit. */
  #unsendable(message: UpMessage, cause: unknown): void {
    this.#metrics.dropped.inc({ what: "unsendable" });
    this.#deps.log.error({ type: message.type, err: cause }, "message cannot be sent");
    if (message.type !== "request") return;
    this.#answers.get(message.body.id)?.reject(cause);
    this.#dispatch({ type: "forget", id: message.body.id });
  }

  #deliver(message: MessageOf<Pushed>): void {
    const group = this.#group;
    if (!group) return;
    if (message.type === "desired") this.#desired.offer(message.body, group);
    else if (message.type === "routes") this.#routes.offer(message.body, group);
    else this.#members.offer(message.body, group);
  }

  #note(before: Session, after: Session): void {
    const { log } = this.#deps;
    const { outbox } = after;
    this.#metrics.backlog(outbox, before.outbox);
    if (isOpen(after) === isOpen(before)) {
      if (after.phase === "down" && before.phase !== "down")
        log.debug({ code: after.lastCode, reason: after.lastMessage }, "no session");
      return;
    }
    this.#metrics.connected.set(isOpen(after) ? 1 : 0);
    if (isOpen(after)) log.info({ connection: after.connection }, "session with coordinator open");
    else if (after.phase !== "ended")
      log.warn(
        { code: after.lastCode, reason: after.lastMessage },
        "session with coordinator lost",
      );
  }
}

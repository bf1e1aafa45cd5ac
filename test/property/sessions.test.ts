/**
 * Both sides' session cores over a network that delays and cuts, on simulated time: records are
 * taken over exactly once, and what is wanted arrives, whatever happens in between.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  newSession,
  nextTickMs,
  SESSION_DEFAULTS,
  type Session,
  type SessionEvent,
  step,
} from "../../agent/link/session.ts";
import {
  AGENT_SESSION_DEFAULTS,
  type AgentSession,
  type AgentSessionEvent,
  newAgentSession,
  nextAgentTickMs,
  stepAgent,
} from "../../coordinator/gateway/session.ts";
import type { Records } from "../../shared/protocol/bodies.ts";
import type { DownMessage, UpMessage } from "../../shared/protocol/messages.ts";
import { type Random, seededRandom } from "../../shared/runtime/random.ts";
import { desiredState, helloFacts, outcome, reportFacts } from "../support/messages.ts";

type Due = { atMs: number; order: number; run: () => void };

/** One agent, one coordinator that may restart, one link of connections that break. */
class World {
  readonly random: Random;
  nowMs = 0;
  readonly taken = new Map<string, number>();
  agent: Session = newSession(0, { desired: 0, routes: 0, members: 0 });
  /** Survives everything: what the store says. */
  lastSeq = 0;
  session: AgentSession | null = null;
  /** The number of the connection that is up; messages of others are lost. */
  up = 0;
  wanted = 0;
  desiredTaken = 0;
  #order = 0;
  readonly #arrivedMs = { up: 0, down: 0 };
  #due: Due[] = [];

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  /** A delay that keeps the order of what went the same way before, as a stream does. */
  onTheWay(way: "up" | "down", run: () => void): void {
    const atMs = Math.max(this.#arrivedMs[way], this.nowMs + 5 + this.random.int(20));
    this.#arrivedMs[way] = atMs;
    this.later(atMs - this.nowMs, run);
  }

  later(ms: number, run: () => void): void {
    this.#due.push({ atMs: this.nowMs + ms, order: this.#order++, run });
  }

  toAgent(event: SessionEvent): void {
    const context = { random: this.random, options: SESSION_DEFAULTS };
    const { session, effects } = step(this.agent, event, this.nowMs, context);
    this.agent = session;
    for (const effect of effects) {
      if (effect.type === "connect") this.connect(effect.connection);
      else if (effect.type === "close") this.cut(effect.connection);
      else if (effect.type === "send") this.carryUp(effect.connection, effect.message);
      else if (effect.type === "deliver" && effect.message.type === "desired") {
        const { version } = effect.message.body;
        this.desiredTaken = version;
        this.later(5, () => this.toAgent({ type: "took", what: "desired", version }));
      }
    }
  }

  connect(connection: number): void {
    this.later(20, () => {
      if (this.random.next() < 0.3) {
        const why = { code: "UNREACHABLE", message: "lost" } as const;
        this.toAgent({ type: "closed", connection, ...why });
        return;
      }
      this.up = connection;
      this.session = newAgentSession(`s-${connection}`, "h", this.nowMs);
      this.toAgent({ type: "connected", connection, hello: helloFacts("h") });
    });
  }

  /** Breaks it: each side hears of it at its own time. */
  cut(connection: number): void {
    if (this.up !== connection) return;
    this.up = 0;
    this.session = null;
    const why = { code: "UNREACHABLE", message: "cut" } as const;
    this.later(this.random.int(50), () => this.toAgent({ type: "closed", connection, ...why }));
  }

  carryUp(connection: number, message: UpMessage): void {
    const { session } = this;
    this.onTheWay("up", () => {
      if (this.up !== connection || this.session === null || session === null) return;
      if (message.type !== "hello") return this.toCoordinator({ type: "message", message });
      const { lastSeq } = this;
      this.toCoordinator({ type: "hello", hello: message.body, lastSeq, chance: 0.5 });
      this.want();
    });
  }

  want(): void {
    if (this.wanted === 0 || this.session?.phase !== "open") return;
    this.toCoordinator({ type: "want", what: "desired", version: this.wanted, bytes: 500 });
  }

  toCoordinator(event: AgentSessionEvent): void {
    if (!this.session) return;
    const connection = this.up;
    const { session, effects } = stepAgent(this.session, event, this.nowMs, AGENT_SESSION_DEFAULTS);
    this.session = session;
    for (const effect of effects) {
      if (effect.type === "send") this.carryDown(connection, effect.message);
      else if (effect.type === "push")
        this.carryDown(connection, { type: "desired", body: desiredState(this.wanted) });
      else if (effect.type === "store") this.store(effect.records);
      else if (effect.type === "close") this.cut(connection);
    }
  }

  carryDown(connection: number, message: DownMessage): void {
    this.onTheWay("down", () => {
      if (this.up === connection) this.toAgent({ type: "message", connection, message });
    });
  }

  /** As the store does it: durable and exactly once by number, or failed. */
  store({ seq, outcomes }: Records): void {
    this.later(this.random.int(40), () => {
      const ok = this.random.next() < 0.8;
      if (ok && seq > this.lastSeq) {
        this.lastSeq = seq;
        for (const o of outcomes) this.taken.set(o.category, (this.taken.get(o.category) ?? 0) + 1);
      }
      this.toCoordinator({ type: "stored", seq, ok });
    });
  }

  run(untilMs: number): void {
    for (;;) {
      const next = this.#due.toSorted((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      const agentMs = nextTickMs(this.agent, SESSION_DEFAULTS);
      const coordinatorMs = this.session
        ? nextAgentTickMs(this.session, AGENT_SESSION_DEFAULTS)
        : Number.POSITIVE_INFINITY;
      const atMs = Math.min(next?.atMs ?? Number.POSITIVE_INFINITY, agentMs, coordinatorMs);
      if (atMs > untilMs) break;
      this.nowMs = Math.max(this.nowMs, atMs);
      if (next && next.atMs === atMs) {
        this.#due = this.#due.filter((d) => d !== next);
        next.run();
      } else if (agentMs === atMs) this.toAgent({ type: "tick" });
      else this.toCoordinator({ type: "tick" });
    }
    this.nowMs = untilMs;
  }
}

test("sessions: records arrive exactly once and states converge (cuts, failed stores, restarts)", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 0, max: 12 }), (seed, cuts) => {
      const world = new World(seed);
      world.toAgent({ type: "start" });
      world.toAgent({ type: "report", report: reportFacts() });
      for (let i = 0; i < 120; i++) {
        const wanted = Math.floor(i / 10) + 1;
        world.later(i * 500, () => {
          world.toAgent({ type: "record", demand: [], outcomes: [outcome("h", i)] });
          if (world.wanted === wanted) return;
          world.wanted = wanted;
          world.want();
        });
      }
      for (let i = 0; i < cuts; i++)
        world.later(world.random.int(60_000), () => world.cut(world.up));
      world.run(60_000);
      world.run(180_000);
      expect([...world.taken.values()].every((times) => times === 1)).toBe(true);
      expect(world.taken.size).toBe(120);
      expect(world.desiredTaken).toBe(12);
      expect(world.session?.have.desired).toBe(12);
    }),
    { numRuns: 60 },
  );
});

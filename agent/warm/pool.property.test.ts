import fc from "fast-check";
import { expect, test } from "vitest";
import { PoolHarness } from "../../test/support/warm-pool.ts";
import { testWorkload } from "../../test/support/workload.ts";
import type { Acquired } from "./slot.ts";

const MB = 2 ** 20;
const MEMORY_MAX = 300 * MB;
const WORKLOADS = [
  testWorkload("a", { mode: "act", environment: { resources: { memoryMb: 100 } } }),
  testWorkload("b", { mode: "observe", environment: { resources: { memoryMb: 150 } } }),
  testWorkload("c", { mode: "act", environment: { resources: { memoryMb: 60 } } }),
];

type Action =
  | { type: "plan"; keys: number[]; paused: boolean }
  | { type: "request"; key: number; patient: boolean }
  | { type: "release"; which: number; failed: boolean }
  | { type: "crash"; which: number }
  /** The process of that place, counted back from the next one, answers no shadow request. */
  | { type: "sick"; ahead: number }
  | { type: "coordinator"; connected: boolean }
  | { type: "wait"; ms: number };

const KEYS = WORKLOADS.flatMap((workload) =>
  ["x", "y"].map((category) => ({ workload, category })),
);
const key = fc.nat(KEYS.length - 1);
const wait = (...ms: number[]) =>
  fc.record({ type: fc.constant("wait" as const), ms: fc.constantFrom(...ms) });
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("plan" as const),
      keys: fc.uniqueArray(key, { maxLength: 4 }),
      paused: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ type: fc.constant("request" as const), key, patient: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("release" as const),
      which: fc.nat(5),
      failed: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("crash" as const), which: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("sick" as const), ahead: fc.nat(2) }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("coordinator" as const), connected: fc.boolean() }),
  },
  { weight: 5, arbitrary: wait(20, 60, 200) },
  { weight: 1, arbitrary: wait(1000, 70_000) },
);
const actions = fc.array(action, { minLength: 10, maxLength: 80, size: "max" });

const served = new Set<number>();

/** Carries out the actions and looks at the invariants after each. */
class Run {
  readonly h = new PoolHarness({ memoryBytesMax: MEMORY_MAX, environmentsMax: 3, drainMs: 500 });
  readonly held: Acquired[] = [];
  readonly sick = new Set<number>();
  readonly proven = new Set<number>();
  waiting = 0;
  readonly problems: string[] = [];

  constructor() {
    this.h.healthy = (port) => {
      const passes = !this.sick.has(port);
      if (passes) this.proven.add(port);
      return passes;
    };
    // While workloads are declared and the pool goes on, only an unhealthy process may be stopped
    // under a request.
    this.h.driver.onStop = ({ port }) => {
      const cut = this.held.filter((one) => one.environment.port === port);
      if (cut.length > 0 && !this.sick.has(port)) this.problems.push(`cut requests on ${port}`);
    };
  }

  async do(action: Action): Promise<void> {
    const { h } = this;
    switch (action.type) {
      case "plan": {
        const keep = action.keys.map((i) => {
          const one = KEYS[i];
          return h.keep(one?.workload.name ?? "", one?.category ?? "", { priority: i });
        });
        h.pool.setDesired(keep, WORKLOADS, { paused: action.paused });
        break;
      }
      case "request":
        this.#request(action.key, action.patient);
        break;
      case "release":
        this.held.splice(action.which, 1)[0]?.release(action.failed);
        break;
      case "crash":
        h.driver.alive[action.which]?.crash();
        break;
      case "sick":
        this.sick.add(10_000 + h.driver.processes.length - action.ahead);
        break;
      case "coordinator":
        h.pool.setConnected(action.connected);
        break;
      case "wait":
        await h.clock.advance(action.ms);
        break;
    }
    this.check();
    await h.clock.advance(0);
    this.check();
    served.add(this.held.length);
  }

  #request(index: number, patient: boolean): void {
    const { h } = this;
    const one = KEYS[index];
    if (!one) return;
    const leaving = new AbortController();
    if (!patient) h.clock.after(30, () => leaving.abort(new Error("client gone")));
    this.waiting++;
    h.pool.acquire(one.workload, one.category, { signal: leaving.signal }).then(
      (acquired) => {
        this.waiting--;
        if (!this.proven.has(acquired.environment.port))
          this.problems.push("routed to an environment without a passing verdict");
        this.held.push(acquired);
      },
      () => {
        this.waiting--;
      },
    );
  }

  check(): void {
    const { h } = this;
    const bytes = h.driver.alive.reduce(
      (sum, { spec }) => sum + spec.workload.environment.resources.memoryMb * MB,
      0,
    );
    if (bytes > MEMORY_MAX) this.problems.push(`memory over the budget: ${bytes / MB} MB`);
    if (h.driver.alive.length > 3) this.problems.push("too many processes");
    const reported = h.pool.list().reduce((sum, one) => sum + one.memoryBytes, 0);
    if (reported < bytes) this.problems.push("reports less memory than processes hold");
    for (const { workload, category } of KEYS) {
      const status = h.pool
        .list()
        .filter((one) => one.workload === workload.name && one.category === category)
        .some((one) => one.verdict?.passed && (one.state === "warm" || one.state === "serving"));
      if (h.pool.ready(workload.name, category) !== status)
        this.problems.push("ready without a passing verdict, or the other way");
    }
  }

  /** Everything is released: all requests must end, and nothing unplanned may stay for ever. */
  async end(): Promise<void> {
    const { h } = this;
    this.sick.clear();
    h.pool.setDesired([], WORKLOADS, { paused: false });
    for (let i = 0; i < 50 && (this.waiting > 0 || this.held.length > 0); i++) {
      for (const one of this.held.splice(0)) one.release();
      await h.clock.advance(10_000);
    }
    if (this.waiting > 0) this.problems.push(`${this.waiting} requests never ended`);
    await h.clock.advance(700_000);
    if (h.pool.list().length > 0) this.problems.push(`left: ${JSON.stringify(h.pool.list())}`);
    await h.stop();
    if (h.driver.alive.length > 0) this.problems.push("processes outlive the pool");
  }
}

test("pool: keeps budget, proof, requests in flight and an end to everything", async () => {
  await fc.assert(
    fc.asyncProperty(actions, async (list) => {
      const run = new Run();
      await run.h.clock.advance(0);
      for (const action of list) await run.do(action);
      await run.end();
      expect(run.problems).toEqual([]);
    }),
    { numRuns: 150 },
  );
  // The runs were no empty ones.
  expect(Math.max(...served)).toBeGreaterThan(5);
});

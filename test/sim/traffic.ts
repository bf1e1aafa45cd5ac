/** Requests of the simulated users, routed by the agents' real choice over a lossy network. */
import { outcomeKind, outcomeOf } from "../../agent/traffic/outcomes.ts";
import { chooseTarget } from "../../agent/traffic/route.ts";
import type { HostId } from "../../shared/domain.ts";
import type { SimAgent } from "./agent.ts";
import type { Run } from "./run.ts";
import { isActive, type SimCategory } from "./world.ts";

const TRIES = 2;
const HOP_TIMEOUT_MS = 25_000;
const ACQUIRE_MS_MAX = 20_000;
const SERVICE_MS = 20;

type Served = {
  kind: "warm" | "late" | "made";
  waitedMs: number;
  orderId: string | null;
  memoryByteMs: number;
};
type Answer = Served | "failed";

export class Traffic {
  readonly #run: Run;
  #serial = 0;
  requests = 0;
  readonly outcomes = { hit: 0, late: 0, miss: 0, wasted: 0 };
  /** Outcomes given to an agent for delivery: all but those that died with their agent. */
  readonly given = new Map<number, HostId>();

  constructor(run: Run) {
    this.#run = run;
  }

  start(): void {
    for (const category of this.#run.world.categories) this.#next(category);
  }

  #next(category: SimCategory): void {
    const { queue, random } = this.#run;
    queue.in(random.exponential(60_000 / category.perMinute), () => {
      if (isActive(category, queue.now())) this.#arrive(category);
      this.#next(category);
    });
  }

  #arrive(category: SimCategory): void {
    const { queue, random } = this.#run;
    const agent = this.#run.agent(random.pick(category.origins));
    if (!agent?.up) return;
    this.requests++;
    agent.countDemand(category.workload.name, category.category);
    this.#try(agent, category, new Set(), TRIES, queue.now());
  }

  #try(
    agent: SimAgent,
    category: SimCategory,
    tried: Set<HostId>,
    triesLeft: number,
    startMs: number,
  ): void {
    const { workload, category: name, key } = category;
    const { pool } = agent;
    if (!pool) return;
    const target = chooseTarget({
      self: agent.spec.id,
      entry: agent.entry(key),
      readyHere: pool.ready(workload.name, name),
      makingHere: pool.making(workload.name, name),
      tried,
      triesLeft,
      reachable: () => true,
    });
    if (target.kind === "nowhere") {
      this.#done(agent, agent.spec.id, category, startMs, "failed");
      return;
    }
    if (target.kind === "here") {
      this.#serve(agent, category, (answer) =>
        this.#done(agent, agent.spec.id, category, startMs, answer),
      );
      return;
    }
    this.#hop(agent, target.host, category, (answer) => {
      if (!agent.up) return;
      if (answer !== "failed") return this.#done(agent, target.host, category, startMs, answer);
      tried.add(target.host);
      this.#try(agent, category, tried, triesLeft - 1, startMs);
    });
  }

  /** Asks the router of another host; calls back once, at the latest when the time is up. */
  #hop(from: SimAgent, to: HostId, category: SimCategory, back: (a: Answer) => void): void {
    const { network, queue } = this.#run;
    let settled = false;
    const once = (answer: Answer) => {
      if (settled) return;
      settled = true;
      back(answer);
    };
    queue.in(HOP_TIMEOUT_MS, () => once("failed"));
    network.datagram(from.spec.id, to, () => {
      const agent = this.#run.agent(to);
      const reply = (answer: Answer) => network.datagram(to, from.spec.id, () => once(answer));
      if (!agent?.up) return reply("failed");
      this.#serve(agent, category, reply);
    });
  }

  #serve(agent: SimAgent, category: SimCategory, back: (answer: Answer) => void): void {
    const { queue, random, checker } = this.#run;
    const { pool, driver } = agent;
    if (!pool || !driver) return;
    const controller = new AbortController();
    const cancel = queue.after(ACQUIRE_MS_MAX, () => controller.abort(new Error("too late")));
    queue.settleNext();
    pool.acquire(category.workload, category.category, { signal: controller.signal }).then(
      (acquired) => {
        cancel();
        const { port, orderId } = acquired.environment;
        const state = driver.state(port);
        if (state === "dead") {
          acquired.release(true);
          return back("failed");
        }
        checker.requestBegins(agent.spec.id, category.key, state === "proven");
        const { kind, waitedMs, memoryByteMs } = acquired;
        queue.in(random.exponential(SERVICE_MS), () => {
          if (agent.pool !== pool) return;
          const died = driver.state(port) === "dead";
          acquired.release(died || random.next() < 0.002);
          queue.settleNext();
          back(died ? "failed" : { kind, waitedMs, orderId, memoryByteMs });
        });
      },
      () => {
        cancel();
        back("failed");
      },
    );
  }

  #done(
    agent: SimAgent,
    host: HostId,
    category: SimCategory,
    startMs: number,
    answer: Answer,
  ): void {
    if (!agent.up) return;
    const now = this.#run.queue.now();
    const outcome = outcomeOf({
      workload: category.workload.name,
      category: category.category,
      host,
      atMs: now,
      firstByteMs: now - startMs,
      status: answer === "failed" ? 503 : 200,
      found: answer === "failed" ? null : { ...answer, kind: outcomeKind(answer.kind) },
    });
    const serial = ++this.#serial;
    this.outcomes[outcome.kind]++;
    this.given.set(serial, agent.spec.id);
    agent.countOutcome({ ...outcome, serial });
    this.#run.note(`${category.key} ${outcome.kind} on ${host}`);
  }
}

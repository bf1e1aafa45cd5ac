/** One run: a whole fleet from one seed, on one queue of events, under one set of invariants. */
import type { Looked } from "../../agent/mesh/ask-around.ts";
import { Bitmap } from "../../agent/mesh/transfer/bitmap.ts";
import type { Said } from "../../agent/mesh/transfer/wants.ts";
import type { HostId } from "../../shared/domain.ts";
import { type Random, seededRandom } from "../../shared/runtime/random.ts";
import { LossyNetwork } from "../support/network.ts";
import { EventQueue } from "../support/queue.ts";
import { SimAgent } from "./agent.ts";
import { type BreakName, Breaks } from "./breaks.ts";
import { Checker, Violation } from "./check.ts";
import { SimCoordinator } from "./coordinator.ts";
import { Faults, type Injected } from "./faults.ts";
import { Journal } from "./journal.ts";
import { Traffic } from "./traffic.ts";
import { makeWorld, type SimHostSpec, type World } from "./world.ts";

export const COORDINATOR = "coordinator";
/** The clock shows this when a run begins: there was a past. */
export const START_MS = 86_400_000;
/** The last part of a run is without faults: everything has to come to rest in it. */
const QUIET_MS = 150_000;
/** How long an agent waits for what the coordinator knows of other sites. */
const ELSEWHERE_MS = 1_000;
const FULL_CHECK_MS = 10_000;
const QUEUE_MAX = 60_000;

/** For the deliberate bug `chance`: another network with every run of this process. */
let runs = 0;

export type RunOptions = { hosts: number; seconds: number; broken: BreakName | null };

export type RunResult = {
  seed: number;
  digest: string;
  steps: number;
  checks: Map<string, number>;
  requests: number;
  outcomes: Record<"hit" | "late" | "miss" | "wasted", number>;
  injected: Injected;
  network: { dropped: number; duplicated: number; broken: number; partitioned: number };
  activations: number;
  violation: { invariant: string; message: string; lines: string[] } | null;
};

type Frozen = Said & { bytes: Uint8Array };

export class Run {
  readonly seed: number;
  readonly queue = new EventQueue(START_MS);
  readonly random: Random;
  readonly world: World;
  readonly network: LossyNetwork;
  readonly checker: Checker;
  readonly breaks: Breaks;
  readonly journal: Journal;
  readonly coordinator: SimCoordinator;
  readonly traffic: Traffic;
  /** Promises of agents' pools; they end with the run. */
  readonly group: Promise<void>[] = [];
  readonly #options: RunOptions;
  readonly #agents = new Map<HostId, SimAgent>();
  readonly #sites = new Map<string, SimHostSpec[]>();
  readonly #affinity = new Map<string, Map<HostId, number>>();
  readonly #faults: Faults;
  partitioned = false;

  constructor(seed: number, options: RunOptions) {
    this.seed = seed;
    this.#options = options;
    this.random = seededRandom(seed);
    this.journal = new Journal(() => this.queue.now() - START_MS);
    this.breaks = new Breaks(options.broken);
    this.world = makeWorld(this.random.fork("world"), options.hosts);
    const chance = options.broken === "chance" ? seededRandom(`chance ${runs++}`) : null;
    this.network = new LossyNetwork(this.queue, chance ?? this.random.fork("network"));
    this.checker = new Checker(() => this.queue.now(), this.world.budget.fleet);
    for (const spec of this.world.hosts) {
      const site = this.#sites.get(spec.site) ?? [];
      this.#sites.set(spec.site, site);
      site.push(spec);
      this.checker.host(spec.id, spec);
      this.#agents.set(spec.id, new SimAgent(this, spec));
    }
    const scores = this.random.fork("affinity");
    for (const { name } of this.world.workloads)
      this.#affinity.set(name, new Map(this.world.hosts.map(({ id }) => [id, scores.next()])));
    this.coordinator = new SimCoordinator(this);
    this.traffic = new Traffic(this);
    const untilMs = Math.max(0, options.seconds * 1000 - QUIET_MS);
    this.#faults = new Faults(this, untilMs);
  }

  note(line: string): void {
    this.journal.note(line);
  }

  agent(id: HostId): SimAgent | undefined {
    return this.#agents.get(id);
  }

  site(name: string): readonly SimHostSpec[] {
    return this.#sites.get(name) ?? [];
  }

  isCalm(_host: HostId): boolean {
    return !this.partitioned && this.network.weather.drop < 0.03;
  }

  affinity(workload: string, host: HostId): number {
    return this.#affinity.get(workload)?.get(host) ?? 0;
  }

  // ── the mesh between agents ──────────────────────────────────────────────────────────────

  /** What `host` answers when asked for a chunk; null when nobody answers. */
  serveChunk(host: HostId, hash: string): { found: boolean; good: boolean } | null {
    const agent = this.#agents.get(host);
    if (!agent?.up) return null;
    const version = agent.disk.holder(hash);
    if (!version) return { found: false, good: false };
    this.checker.chunkServed(host, hash, !version.tainted);
    version.lastUsedMs = this.queue.now();
    return { found: true, good: !version.tainted };
  }

  sayTo(from: HostId, to: HostId, local: boolean, whole: boolean, said: readonly Frozen[]): void {
    this.network.datagram(from, to, () => {
      const mesh = this.#agents.get(to)?.mesh;
      if (!mesh || !this.#agents.get(from)?.up) return;
      const manifests = said.map(({ bytes, have, ...rest }) => ({
        ...rest,
        have: new Bitmap(have.size, bytes.slice()),
      }));
      mesh.step({ type: "said", host: from, local, whole, manifests });
    });
  }

  /** A host that just started asks what another one holds. */
  askWhole(asker: HostId, other: HostId): void {
    if (asker === other) return;
    this.network.datagram(asker, other, () => this.#answerWhole(other, asker, true, null));
  }

  /** Nobody near has it: the coordinator knows who may; without it the host guesses. */
  askElsewhere(asker: HostId, { id, ...how }: Looked): void {
    const mine = this.#agents.get(asker)?.spec.site;
    let heard = false;
    const hear = (origin: boolean, ahead: boolean, hosts: readonly HostId[]) => {
      if (heard) return;
      heard = true;
      this.#agents.get(asker)?.mesh?.step({ type: "turn", id, ours: origin, ahead });
      for (const other of hosts)
        if (this.#agents.get(other)?.spec.site !== mine)
          this.network.datagram(asker, other, () => this.#answerWhole(other, asker, false, id));
    };
    this.network.datagram(asker, COORDINATOR, () => {
      const told = this.coordinator.elsewhere(asker, { hash: id, ...how });
      if (told)
        this.network.datagram(COORDINATOR, asker, () => hear(told.origin, told.ahead, told.hosts));
    });
    const { publisher } = this.world.artifacts.get(id) ?? {};
    const guess = [publisher ?? asker, this.random.pick(this.world.hosts).id];
    this.queue.in(ELSEWHERE_MS, () => hear(true, false, guess));
  }

  #answerWhole(from: HostId, to: HostId, local: boolean, only: string | null): void {
    const mesh = this.#agents.get(from)?.mesh;
    if (!mesh) return;
    const said = only === null ? mesh.whole() : [mesh.said(only)];
    const frozen = said.map((one) => ({ ...one, bytes: one.have.toBytes() }));
    this.sayTo(from, to, local, only === null, frozen);
  }

  /** Its connections break: peers notice within seconds. */
  hostGone(id: HostId): void {
    for (const agent of this.#agents.values())
      if (agent.spec.id !== id)
        this.queue.in(this.random.exponential(1500), () => {
          if (!this.#agents.get(id)?.up) agent.mesh?.step({ type: "gone", host: id });
        });
  }

  // ── the run ──────────────────────────────────────────────────────────────────────────────

  async result(): Promise<RunResult> {
    const violation = await this.#untilViolation();
    return {
      seed: this.seed,
      digest: this.journal.digest(),
      steps: this.queue.steps,
      checks: this.checker.counts,
      requests: this.traffic.requests,
      outcomes: this.traffic.outcomes,
      injected: this.#faults.injected,
      network: this.network.faults,
      activations: this.checker.counts.get("activated whole or not at all") ?? 0,
      violation,
    };
  }

  async #untilViolation(): Promise<RunResult["violation"]> {
    // A violation inside a promise (a pool's task) would end in that pool: the first is kept here.
    let failure: unknown = null;
    this.checker.onViolation = (violation) => {
      failure ??= violation;
    };
    const check = () => {
      if (failure !== null) throw failure;
    };
    try {
      this.#start();
      await this.queue.run(START_MS + this.#options.seconds * 1000, check);
      this.#atRest();
      return null;
    } catch (cause) {
      const found = failure ?? cause;
      const invariant = found instanceof Violation ? found.invariant : "no exception";
      const text = found instanceof Violation ? found.message : String((found as Error)?.stack);
      return { invariant, message: text, lines: this.journal.newest() };
    } finally {
      for (const agent of this.#agents.values()) agent.crash();
    }
  }

  #start(): void {
    for (const artifact of this.world.artifacts.values()) {
      const disk = this.#agents.get(artifact.publisher)?.disk;
      const version = disk?.add(
        artifact,
        0,
        () => true,
        () => {},
      );
      if (!version) {
        artifact.hasOrigin = true;
        continue;
      }
      for (let i = 0; i < artifact.chunks.length; i++) version.have.set(i);
      version.bytesHave = artifact.bytes;
      version.active = true;
    }
    this.coordinator.start();
    for (const agent of this.#agents.values())
      this.queue.in(this.random.int(2000), () => agent.start());
    this.queue.in(5000, () => this.traffic.start());
    this.queue.in(10_000, () => this.#faults.start());
    this.queue.in(FULL_CHECK_MS, () => this.#fullCheck());
  }

  #fullCheck(): void {
    this.checker.full();
    this.checker.bounded("queue", this.queue.size, QUEUE_MAX);
    this.checker.bounded("connections", this.network.connections, 3 * this.world.hosts.length);
    for (const agent of this.#agents.values()) agent.checkBounds();
    this.queue.in(FULL_CHECK_MS, () => this.#fullCheck());
  }

  /** After the quiet end: everything has come together. */
  #atRest(): void {
    const { coordinator, checker } = this;
    for (const agent of this.#agents.values()) {
      const { session } = agent;
      checker.holds(
        "agents come back",
        session?.phase === "open",
        () => `${agent.spec.id} is ${session?.phase}`,
      );
      const { version } = coordinator.planning?.routes ?? { version: 0 };
      checker.holds(
        "routes reach every agent",
        version - agent.routesVersion <= 1,
        () => `${agent.spec.id} has routes ${agent.routesVersion}, not ${version}`,
      );
    }
    const waiting = [...this.#agents.values()].reduce((sum, a) => sum + a.uncounted(), 0);
    checker.holds(
      "every request is counted once",
      coordinator.ledger.counted + waiting === this.traffic.requests,
      () =>
        `${this.traffic.requests} came, ${coordinator.ledger.counted} are counted, ${waiting} not yet`,
    );
    for (const [serial, host] of this.traffic.given) {
      const agent = this.#agents.get(host);
      checker.holds(
        "no record lost",
        checker.isCommitted(serial) || agent?.mayHold(serial) === true,
        () => `record ${serial} of ${host}`,
      );
    }
  }
}

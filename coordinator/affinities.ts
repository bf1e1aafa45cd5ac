/**
 * Affinity as the conductor sees it: scores for the planner, what requests took for the network,
 * and each new network published for the agents.
 */
import type { KeyObject } from "node:crypto";
import type { HostId, Outcome } from "../shared/domain.ts";
import type { ModelRef, Report } from "../shared/protocol/bodies.ts";
import { type Clock, every } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import type { Random } from "../shared/runtime/random.ts";
import { AffinityLearner, type PairMetrics } from "./affinity/learner.ts";
import { TrainerState } from "./affinity/trainer.ts";
import type { DemandHistory } from "./demand/history.ts";
import type { HostSummary } from "./fleet/hosts.ts";
import { publishModel } from "./model.ts";
import type { Store } from "./store/store.ts";

export type AffinityDeps = {
  clock: Clock;
  demandClock: Clock;
  random: Random;
  log: Log;
  store: Store;
  history: DemandHistory;
};

const TRAIN_CHECK_MS = 5_000;
const STATE = "affinity-trainer";

/** Scores for the planner, and the network's training and publication. */
export class Affinities {
  readonly #deps: AffinityDeps;
  readonly #learner: AffinityLearner;
  readonly #options: { dataDir: string; signingKey: KeyObject };
  readonly #latest = new Map<HostId, Report>();
  /** Agents' own scores: host → workload → score. */
  readonly #own = new Map<HostId, Map<string, number>>();
  model: ModelRef | null = null;

  constructor(deps: AffinityDeps, options: { dataDir: string; signingKey: KeyObject }) {
    this.#deps = deps;
    this.#options = options;
    this.#learner = new AffinityLearner(deps);
  }

  async run(signal: AbortSignal): Promise<void> {
    const state = TrainerState.safeParse(this.#deps.store.models.state(STATE));
    if (state.success && this.#learner.restore(state.data) && state.data.version > 0)
      await this.#publish();
    await every(this.#deps.clock, TRAIN_CHECK_MS, signal, () => this.#trainIfDue());
    await this.#learner.close();
  }

  sampled(host: HostId, report: Report): void {
    this.#latest.set(host, report);
    this.#own.set(host, new Map(report.scores.map((s) => [s.workload, s.score])));
  }

  /** A request that found a warm environment shows what the host is worth. */
  learn(outcome: Outcome): void {
    const report = this.#latest.get(outcome.host);
    if (outcome.kind !== "hit" || !report) return;
    const { workload, host, firstByteMs, status } = outcome;
    const pair = this.#pair(workload, host, report);
    const request = { workload, host, latencyMs: firstByteMs, failed: status >= 500 };
    this.#learner.observe(request, pair, this.#deps.clock.monotonic());
  }

  /** The agent's own score; before its first, what the coordinator would say of it. */
  score(workload: string, host: HostSummary): number {
    const own = this.#own.get(host.id)?.get(workload);
    if (own !== undefined) return own;
    const report = this.#latest.get(host.id);
    if (!report) return 0.5;
    const pair = this.#pair(workload, host.id, report);
    return this.#learner.score(workload, host.id, pair, this.#deps.clock.monotonic());
  }

  #pair(workload: string, host: HostId, { sample, environments }: Report): PairMetrics {
    const { history } = this.#deps;
    const shares = history
      .keys()
      .filter((k) => k.workload === workload)
      .map((k) => history.hostShare(k.workload, k.category).get(host) ?? 0);
    return {
      sample,
      demandShare: shares.reduce((sum, s) => sum + s, 0) / Math.max(1, shares.length),
      heldShare: 1,
      warm: environments.some((e) => e.workload === workload && e.verdict?.passed === true),
    };
  }

  async #trainIfDue(): Promise<void> {
    const trained = await this.#learner.trainIfDue();
    if (!trained?.promoted) return;
    await this.#deps.store.models.setState(STATE, this.#learner.state());
    await this.#publish();
  }

  async #publish(): Promise<void> {
    const { store, clock, log } = this.#deps;
    const { version, onnx, meta } = this.#learner.exported();
    this.model = await publishModel(
      store,
      { version, onnx, meta },
      { ...this.#options, nowMs: clock.now() },
    );
    log.info({ version, manifestHash: this.model.manifestHash }, "affinity model published");
  }
}

/** Scores of all applications on this host, remade now and then, and held in between. */
import type { AffinityScore, HostSample } from "../shared/domain.ts";
import type { Workload } from "../shared/workload.ts";
import type { AffinityScorer, ScoreInput } from "./affinity/scorer.ts";
import type { Resolved } from "./artifacts.ts";
import type { Holding } from "./mesh/store/holding.ts";

export type ScoresDeps = {
  scorer: AffinityScorer;
  workloads(): readonly Workload[];
  sample(): HostSample | null;
  holdings(): readonly Holding[];
  /** What a category of the workload needs, as far as known here. */
  needs(workload: Workload, category: string): readonly Resolved[];
  warm(workload: string): boolean;
  /** Share of the application's requests that enter at this host, 0..1. */
  demandShare(workload: string): number;
};

/** Applications a report can carry. */
const SCORES_MAX = 2_000;

export class Scores {
  readonly #deps: ScoresDeps;
  #latest: AffinityScore[] = [];

  constructor(deps: ScoresDeps) {
    this.#deps = deps;
  }

  get latest(): AffinityScore[] {
    return this.#latest;
  }

  async refresh(): Promise<void> {
    const sample = this.#deps.sample();
    if (!sample) return;
    const held = new Map(this.#deps.holdings().map((h) => [h.manifestHash, h]));
    const inputs = this.#deps
      .workloads()
      .slice(0, SCORES_MAX)
      .map((workload) => this.#input(workload, sample, held));
    this.#latest = await this.#deps.scorer.scores(inputs);
  }

  #input(workload: Workload, sample: HostSample, held: Map<string, Holding>): ScoreInput {
    const needs = this.#deps.needs(workload, workload.category.default);
    const shares = needs.map(({ manifestHash }) => {
      const holding = held.get(manifestHash);
      return holding && holding.bytes > 0 ? holding.bytesHave / holding.bytes : 0;
    });
    const heldShare = shares.length > 0 ? shares.reduce((sum, s) => sum + s, 0) / shares.length : 0;
    return {
      workload: workload.name,
      sample,
      heldShare,
      warm: this.#deps.warm(workload.name),
      demandShare: this.#deps.demandShare(workload.name),
    };
  }
}

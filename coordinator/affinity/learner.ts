/**
 * Affinity on the coordinator: turns what requests took into training rows, says when it is time
 * to train, and scores hosts that sent no score of their own. What a request of a workload should
 * take is the fleet's running median of those that found a warm environment.
 */
import { type AffinityInput, featureVector } from "../../shared/affinity.ts";
import {
  corrected,
  emptyRecord,
  fadedTo,
  type LatencyRecord,
  observed,
} from "../../shared/affinity-correction.ts";
import type { HostId } from "../../shared/domain.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { retrainReason, TrainingRows, trainingRow } from "./rows.ts";
import {
  AffinityTrainer,
  type Trained,
  type TrainerOptions,
  type TrainerState,
} from "./trainer.ts";

/** Live metrics of a pair; its latency record is kept here. */
export type PairMetrics = Omit<AffinityInput, "latencyRatio" | "failures">;

/** Records kept; the longest unseen goes first. */
const RECORDS_MAX = 100_000;
/** How far one request moves the running median, in log2. */
const MEDIAN_STEP = 0.05;

export class AffinityLearner {
  readonly #trainer: AffinityTrainer;
  readonly #rows: TrainingRows;
  readonly #log: Log;
  readonly #records = new Map<string, LatencyRecord>();
  /** log2 milliseconds per workload. */
  readonly #expected = new Map<string, number>();
  #trainedLoss = 0;

  constructor(deps: { random: Random; log: Log }, options: Partial<TrainerOptions> = {}) {
    this.#log = deps.log;
    this.#trainer = new AffinityTrainer(deps, options);
    this.#rows = new TrainingRows(deps.random.fork("rows"));
  }

  get version(): number {
    return this.#trainer.version;
  }

  /** What a request with a warm environment should take; null before the first. */
  expectedMs(workload: string): number | null {
    const log2 = this.#expected.get(workload);
    return log2 === undefined ? null : 2 ** log2;
  }

  /** One request that found a warm environment on `host`, whose metrics then were `pair`. */
  observe(
    request: { workload: string; host: HostId; latencyMs: number; failed: boolean },
    pair: PairMetrics,
    nowMs: number,
  ): void {
    const { workload, host, latencyMs, failed } = request;
    const log2Ms = Math.log2(Math.max(0.01, latencyMs));
    const median = this.#expected.get(workload) ?? log2Ms;
    const key = `${workload}/${host}`;
    const before = fadedTo(this.#records.get(key) ?? emptyRecord(nowMs), nowMs);
    const expectedMs = 2 ** median;
    const row = trainingRow(withRecord(pair, before), { latencyMs, expectedMs, failed });
    this.#rows.add(row, this.#trainer.score(row.features));
    remember(this.#records, key, observed(before, { latencyMs, expectedMs, failed }, nowMs));
    if (failed) return;
    const moved = median + MEDIAN_STEP * Math.sign(log2Ms - median);
    remember(this.#expected, workload, moved);
  }

  /** The score an agent would give itself, from what the coordinator knows. */
  score(workload: string, host: HostId, pair: PairMetrics, nowMs: number): number {
    const record = this.#records.get(`${workload}/${host}`) ?? emptyRecord(nowMs);
    const faded = fadedTo(record, nowMs);
    const score = this.#trainer.score(featureVector(withRecord(pair, faded)));
    return corrected(score, faded).score;
  }

  /** Trains when there is no model yet, or it is time to; null when not. */
  async trainIfDue(): Promise<Trained | null> {
    const { newRows, recentLoss, rows } = this.#rows;
    const reason =
      this.#trainer.version === 0
        ? "first"
        : retrainReason({ newRows, recentLoss, trainedLoss: this.#trainedLoss });
    if (reason === null) return null;
    this.#log.info({ reason, newRows, recentLoss }, "training the affinity network");
    const snapshot = [...rows];
    this.#rows.trained();
    const trained = await this.#trainer.train(snapshot);
    // A kept network's held-out loss is the one before: that is what drift is measured against.
    this.#trainedLoss = trained.promoted ? trained.loss : trained.lossBefore;
    return trained;
  }

  /** The network in use as the agents get it; only after a training or a restore. */
  exported(): Pick<Trained, "version" | "onnx" | "meta" | "parameters"> {
    return this.#trainer.exported();
  }

  state(): TrainerState {
    return this.#trainer.state();
  }

  restore(state: TrainerState): boolean {
    return this.#trainer.restore(state);
  }

  close(): Promise<void> {
    return this.#trainer.close();
  }
}

function withRecord(pair: PairMetrics, record: LatencyRecord): AffinityInput {
  return { ...pair, latencyRatio: 2 ** record.log2Ratio, failures: record.failures };
}

function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= RECORDS_MAX) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}

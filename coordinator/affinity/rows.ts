/**
 * The rows the network learns from and when it is time to learn: pure bookkeeping over what
 * requests proved. Bounded by a reservoir that keeps recent rows more likely than old ones.
 */
import { type AffinityInput, featureVector, goodness } from "../../shared/affinity.ts";
import type { Random } from "../../shared/runtime/random.ts";
import type { TrainingRow } from "./prior.ts";

export type RetrainRule = {
  /** Retrain after this many new rows. Lower follows faster and costs more training. */
  rowsMax: number;
  /** Never with fewer new rows than this. */
  rowsMin: number;
  /** Retrain when recent loss exceeds this multiple of the loss after the last training. */
  driftRatio: number;
  /** Losses below this are never drift: squared error of a score. */
  driftLossMin: number;
};

export const RETRAIN_RULE: RetrainRule = {
  rowsMax: 2000,
  rowsMin: 100,
  driftRatio: 1.5,
  driftLossMin: 0.01,
};

/** Whether to retrain now, and why. */
export function retrainReason(
  seen: { newRows: number; recentLoss: number; trainedLoss: number },
  rule: RetrainRule = RETRAIN_RULE,
): "rows" | "drift" | null {
  if (seen.newRows < rule.rowsMin) return null;
  const drifted =
    seen.recentLoss > rule.driftLossMin && seen.recentLoss > rule.driftRatio * seen.trainedLoss;
  if (drifted) return "drift";
  return seen.newRows >= rule.rowsMax ? "rows" : null;
}

/** What a served request teaches of the host that served it. */
export function trainingRow(
  input: AffinityInput,
  result: { latencyMs: number; expectedMs: number; failed: boolean },
): TrainingRow {
  return { features: featureVector(input), target: goodness(result) };
}

/** Share of the newest row in the running loss. */
const LOSS_BLEND = 0.02;

export class TrainingRows {
  readonly #capacity: number;
  readonly #random: Random;
  #rows: TrainingRow[] = [];
  #recentLoss = 0;
  newRows = 0;

  constructor(random: Random, capacity = 8192) {
    this.#random = random;
    this.#capacity = capacity;
  }

  get rows(): readonly TrainingRow[] {
    return this.#rows;
  }

  /** Running squared error of the current model on rows as they came. */
  get recentLoss(): number {
    return this.#recentLoss;
  }

  /** Takes a row; `score` is what the current model says of it. When full, a random row goes. */
  add(row: TrainingRow, score: number): void {
    const loss = (score - row.target) ** 2;
    this.newRows++;
    const blend = Math.max(LOSS_BLEND, 1 / this.newRows);
    this.#recentLoss += blend * (loss - this.#recentLoss);
    if (this.#rows.length < this.#capacity) this.#rows.push(row);
    else this.#rows[this.#random.int(this.#capacity)] = row;
  }

  /** Starts a new count after a training. */
  trained(): void {
    this.newRows = 0;
    this.#recentLoss = 0;
  }
}

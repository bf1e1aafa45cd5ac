/**
 * Trains the recurrent network on windows of all series at once, inside onnxruntime. The same
 * series, options and seed give the same weights: batches come from the seed and one thread sums.
 */
import { assert } from "../../../shared/runtime/assert.ts";
import type { Random } from "../../../shared/runtime/random.ts";
import { descend, fresh, type Tensors } from "../../tensors/adam.ts";
import { OnnxSession } from "../../tensors/session.ts";
import { LEVELS } from "../levels.ts";
import { trainingModel } from "./graph.ts";
import { RecurrentNetwork, type Sizes, tensorsOf, type Weights } from "./network.ts";
import {
  BIN_FEATURES,
  CANDIDATES,
  CONTEXT,
  PAST_MIN,
  type Series,
  STEP_FEATURES,
  type Window,
  windowOf,
} from "./window.ts";

export type TrainingOptions = {
  steps: number;
  /** Windows a step looks at. */
  rows: number;
  learningRate: number;
  /** Farthest bin ahead that is learned. */
  aheadMax: number;
};
export const TRAINING: TrainingOptions = {
  steps: 1500,
  rows: 128,
  learningRate: 0.01,
  aheadMax: 24,
};

/** Bins ahead that are learned from one window. */
export const AHEADS = 4;
/** How often the weights are judged on what was held out. */
const CHECKS = 10;
/** Tries for a window that says something, before the batch goes on without. */
const TRIES = 4;

export type Example = { window: Window; targets: number[] };

export class RecurrentTrainer {
  readonly #session: OnnxSession;
  readonly #sizes: Sizes;

  private constructor(session: OnnxSession, sizes: Sizes) {
    this.#session = session;
    this.#sizes = sizes;
  }

  static async open(sizes: Sizes): Promise<RecurrentTrainer> {
    return new RecurrentTrainer(await OnnxSession.open(trainingModel(sizes, AHEADS)), sizes);
  }

  /**
   * The weights after whichever tenth of the steps does best on `held`: few series are soon
   * learned by heart. `loss` is theirs, in scales (see `window.ts`).
   */
  async train(
    start: Weights,
    series: readonly Series[],
    held: readonly Example[],
    options: TrainingOptions,
    random: Random,
  ): Promise<{ weights: Weights; loss: number }> {
    let tensors = tensorsFrom(start, this.#sizes);
    let best = { weights: start, loss: Number.POSITIVE_INFINITY };
    const part = Math.max(1, Math.floor(options.steps / CHECKS));
    for (let step = 1; step <= options.steps; step++) {
      const batch = examples(series, options, random);
      if (batch.length === 0) break;
      // A cosine down to a fiftieth, so that the last steps settle.
      const rate =
        options.learningRate * (0.02 + 0.49 * (1 + Math.cos((Math.PI * step) / options.steps)));
      const inputs = inputsOf(batch, this.#sizes);
      const stepped = await descend(this.#session, tensors, inputs, { step, rate });
      tensors = stepped.tensors;
      if (step % part !== 0) continue;
      const weights = weightsFrom(tensors, this.#sizes);
      const loss = lossOn(weights, this.#sizes, held);
      if (loss < best.loss) best = { weights, loss };
    }
    return best;
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}

/**
 * Windows at random places of random series, each with bins ahead whose values are known. They end
 * after `fromShare` of their series.
 */
export function examples(
  series: readonly Series[],
  { rows, aheadMax, fromShare = 0 }: { rows: number; aheadMax: number; fromShare?: number },
  random: Random,
): Example[] {
  const long = series.filter((s) => s.values.length > PAST_MIN);
  if (long.length === 0) return [];
  const made: Example[] = [];
  for (let row = 0; row < rows; row++) {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const from = random.pick(long);
      const first = Math.max(PAST_MIN, Math.floor(fromShare * from.values.length));
      const end = first + random.int(from.values.length - first);
      const most = Math.min(aheadMax, from.values.length - end);
      // Near bins matter more often than far ones.
      const aheads = Array.from({ length: AHEADS }, () =>
        Math.min(most, Math.floor(Math.exp(random.next() * Math.log(most + 1)))),
      );
      const window = windowOf(from, end, aheads);
      if (!window || isSilent(window)) continue;
      const targets = aheads.map(
        (ahead) => ((from.values[end + ahead - 1] ?? 0) - window.level) / window.scale,
      );
      made.push({ window, targets });
      break;
    }
  }
  return made;
}

/** Nothing happened and nothing was to be expected. */
function isSilent(window: Window): boolean {
  return window.scale <= 1e-9 || window.steps.every((value) => value === 0);
}

/** The batch as the training graph takes it, bin by bin of all windows. */
export function inputsOf(batch: readonly Example[], sizes: Sizes): Tensors {
  const rows = batch.length;
  const bins = rows * AHEADS;
  const steps = new Float32Array(CONTEXT * rows * STEP_FEATURES);
  const features = new Float32Array(bins * BIN_FEATURES);
  const candidates = new Float32Array(bins * CANDIDATES);
  const target = new Float32Array(bins);
  for (const [row, { window, targets }] of batch.entries()) {
    for (let t = 0; t < CONTEXT; t++) {
      const step = window.steps.subarray(t * STEP_FEATURES, (t + 1) * STEP_FEATURES);
      steps.set(step, (t * rows + row) * STEP_FEATURES);
    }
    for (const [k, bin] of window.bins.entries()) {
      const at = k * rows + row;
      features.set(bin.features, at * BIN_FEATURES);
      candidates.set(bin.candidates, at * CANDIDATES);
      target[at] = targets[k] ?? 0;
    }
  }
  return {
    steps: { data: steps, shape: [CONTEXT * rows, STEP_FEATURES] },
    start: { data: new Float32Array(rows * sizes.hidden), shape: [rows, sizes.hidden] },
    features: { data: features, shape: [bins, BIN_FEATURES] },
    candidates: { data: candidates, shape: [bins, CANDIDATES] },
    target: { data: target, shape: [bins, 1] },
    weight: { data: new Float32Array(bins).fill(1), shape: [bins, 1] },
  };
}

/** Mean pinball loss of the network on the examples, in scales. */
export function lossOn(weights: Weights, sizes: Sizes, batch: readonly Example[]): number {
  const network = new RecurrentNetwork(weights, sizes);
  let sum = 0;
  let count = 0;
  for (const { window, targets } of batch)
    for (const [k, quantiles] of network.predict(window).entries()) {
      const target = targets[k] ?? 0;
      for (const [i, level] of LEVELS.entries()) {
        const error = target - ((quantiles[i] ?? 0) - window.level) / window.scale;
        sum += Math.max(level * error, (level - 1) * error);
        count++;
      }
    }
  return sum / count;
}

export function tensorsFrom(weights: Weights, sizes: Sizes): Tensors {
  const tensors: Tensors = {};
  for (const spec of tensorsOf(sizes)) {
    const values = weights[spec.name];
    assert(values, `the network has ${spec.name}`);
    Object.assign(tensors, fresh(spec, values));
  }
  return tensors;
}

function weightsFrom(tensors: Tensors, sizes: Sizes): Weights {
  const weights: Weights = {};
  for (const { name } of tensorsOf(sizes)) {
    const values = tensors[name]?.data;
    assert(values, `the step gives ${name}`);
    weights[name] = values;
  }
  return weights;
}

/**
 * Trains the affinity network inside onnxruntime and exports it for the agents. A new network is
 * promoted only when it does better than the one in use on rows it was not trained on.
 */
import { z } from "zod";
import {
  type AffinityModelMeta,
  FEATURES,
  forward,
  LAYER_SIZES,
  Layer,
  type Network,
} from "../../shared/affinity.ts";
import { assert } from "../../shared/runtime/assert.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { descend, fresh, type Tensors } from "../tensors/adam.ts";
import { OnnxSession } from "../tensors/session.ts";
import { inferenceModel, tensorsOf, trainingModel } from "./graph.ts";
import { priorRows, type TrainingRow } from "./prior.ts";

export type TrainerOptions = {
  /** Rows a step looks at. */
  batchRows: number;
  /** Steps of one training; 0.4 ms each. */
  steps: number;
  learningRate: number;
  /** What all prior rows together weigh, in real rows. Higher trusts the ledger later. */
  priorWeight: number;
};
export const TRAINER_OPTIONS: TrainerOptions = {
  batchRows: 128,
  steps: 800,
  learningRate: 0.01,
  priorWeight: 200,
};

/** Every how many rows one is kept out of training, to judge it by. */
const HOLDOUT = 5;

export const TrainerState = z.object({
  version: z.number().int().min(0),
  features: z.array(z.string()),
  network: z.array(Layer),
});
export type TrainerState = z.infer<typeof TrainerState>;

export type Trained = {
  /** Rises by one with each promotion. */
  version: number;
  promoted: boolean;
  /** The model in use afterwards: ONNX bytes and what goes beside them. */
  onnx: Uint8Array<ArrayBuffer>;
  meta: AffinityModelMeta;
  parameters: Network;
  /** Weighted mean squared error on held-out rows, of the network in use before and of the new. */
  lossBefore: number;
  loss: number;
};

type WeightedRow = TrainingRow & { weight: number };

export class AffinityTrainer {
  readonly #random: Random;
  readonly #log: Log;
  readonly #options: TrainerOptions;
  #session: OnnxSession | null = null;
  #network: Network;
  #version = 0;

  constructor(deps: { random: Random; log: Log }, options: Partial<TrainerOptions> = {}) {
    this.#random = deps.random;
    this.#log = deps.log;
    this.#options = { ...TRAINER_OPTIONS, ...options };
    this.#network = initialNetwork(this.#random.fork("weights"));
  }

  /** 0 until the first training. */
  get version(): number {
    return this.#version;
  }

  get network(): Network {
    return this.#network;
  }

  /** What the network in use says of a feature vector; cheap, without onnxruntime. */
  score(features: readonly number[]): number {
    return forward(this.#network, features);
  }

  /** Learns from prior rows and the given ones, starting at the network in use. */
  async train(rows: readonly TrainingRow[]): Promise<Trained> {
    const all = this.#weighted(rows);
    const held = all.filter((_, i) => i % HOLDOUT === 0);
    const seen = all.filter((_, i) => i % HOLDOUT !== 0);
    const lossBefore = meanLoss(this.#network, held);
    const candidate = await this.#fit(seen);
    const loss = meanLoss(candidate, held);
    const promoted = loss < lossBefore || this.#version === 0;
    if (promoted) {
      this.#network = candidate;
      this.#version++;
    }
    this.#log.info(
      { version: this.#version, rows: rows.length, lossBefore, loss, promoted },
      "affinity network trained",
    );
    return { ...this.exported(), promoted, lossBefore, loss };
  }

  /** The network in use as the agents get it. */
  exported(): Pick<Trained, "version" | "onnx" | "meta" | "parameters"> {
    assert(this.#version > 0, "only a trained network is exported");
    const features = FEATURES.map((_, i) => (i % 2 === 0 ? 0.25 : 0.75));
    return {
      version: this.#version,
      onnx: inferenceModel(this.#network),
      meta: {
        version: this.#version,
        features: [...FEATURES],
        check: { features, score: this.score(features) },
      },
      parameters: this.#network,
    };
  }

  state(): TrainerState {
    return {
      version: this.#version,
      features: [...FEATURES],
      network: this.#network.map((layer) => ({ ...layer })),
    };
  }

  /** False, and nothing changed, when the state is of another network (other features or sizes). */
  restore(state: TrainerState): boolean {
    const sizes = [state.network[0]?.inputs, ...state.network.map((layer) => layer.outputs)];
    const fits = state.features.join() === FEATURES.join() && sizes.join() === LAYER_SIZES.join();
    if (!fits) return false;
    this.#network = state.network;
    this.#version = state.version;
    return true;
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await session?.close();
  }

  #weighted(rows: readonly TrainingRow[]): WeightedRow[] {
    const prior = priorRows(this.#random.fork("prior"));
    const weight = this.#options.priorWeight / prior.length;
    const real = rows
      .filter(usable)
      .map(({ features, target }) => ({ features, target, weight: 1 }));
    if (real.length < rows.length)
      this.#log.warn(
        { dropped: rows.length - real.length },
        "affinity rows of another shape dropped",
      );
    return [...prior.map((row) => ({ ...row, weight })), ...real];
  }

  async #fit(rows: readonly WeightedRow[]): Promise<Network> {
    const { steps, batchRows, learningRate } = this.#options;
    this.#session ??= await OnnxSession.open(trainingModel(LAYER_SIZES));
    let tensors = tensorsFrom(this.#network);
    const draws = this.#random.fork(`batches/${this.#version}/${rows.length}`);
    for (let step = 1; step <= steps; step++) {
      const batch = Array.from({ length: batchRows }, () => draws.pick(rows));
      // A cosine from the full rate to a tenth of it, so that the last steps settle.
      const rate = learningRate * (0.1 + 0.45 * (1 + Math.cos((Math.PI * step) / steps)));
      const stepped = await trainingStep(this.#session, tensors, batch, { step, rate });
      tensors = stepped.tensors;
    }
    return networkFrom(tensors);
  }
}

/** One run of the training graph: the loss before the step and the tensors after it. */
export async function trainingStep(
  session: OnnxSession,
  tensors: Tensors,
  batch: readonly WeightedRow[],
  at: { step: number; rate: number },
): Promise<{ loss: number; tensors: Tensors }> {
  const column = (of: (row: WeightedRow) => number) => ({
    data: Float32Array.from(batch, of),
    shape: [batch.length, 1],
  });
  const features = {
    data: Float32Array.from(batch.flatMap((row) => row.features)),
    shape: [batch.length, LAYER_SIZES[0]],
  };
  const target = column((row) => row.target);
  const weight = column((row) => row.weight);
  return descend(session, tensors, { features, target, weight }, at);
}

/** The network's tensors with moments of zero. */
export function tensorsFrom(network: Network): Tensors {
  const tensors: Tensors = {};
  for (const spec of tensorsOf(LAYER_SIZES)) {
    const layer = network[Number(spec.name.slice(1))];
    const values = spec.name.startsWith("w") ? layer?.weights : layer?.bias;
    Object.assign(tensors, fresh(spec, values ?? []));
  }
  return tensors;
}

function networkFrom(tensors: Tensors): Network {
  return LAYER_SIZES.slice(1).map((outputs, depth) => ({
    inputs: LAYER_SIZES[depth] ?? 0,
    outputs,
    weights: Array.from(tensors[`w${depth}`]?.data ?? []),
    bias: Array.from(tensors[`b${depth}`]?.data ?? []),
  }));
}

/** Glorot's normal initialisation: variance 2 / (inputs + outputs). */
export function initialNetwork(random: Random): Network {
  return LAYER_SIZES.slice(1).map((outputs, depth) => {
    const inputs = LAYER_SIZES[depth] ?? 0;
    const spread = Math.sqrt(2 / (inputs + outputs));
    return {
      inputs,
      outputs,
      weights: Array.from({ length: inputs * outputs }, () => spread * random.normal()),
      bias: new Array<number>(outputs).fill(0),
    };
  });
}

/** Rows of an older feature list, or with numbers that are none, would poison every weight. */
function usable(row: TrainingRow): boolean {
  const finite = row.features.every(Number.isFinite);
  return row.features.length === FEATURES.length && finite && row.target >= 0 && row.target <= 1;
}

function meanLoss(network: Network, rows: readonly WeightedRow[]): number {
  let sum = 0;
  let weights = 0;
  for (const row of rows) {
    sum += row.weight * (forward(network, row.features) - row.target) ** 2;
    weights += row.weight;
  }
  return sum / weights;
}

/**
 * The recurrent network: a gated recurrent unit (GRU) reads the last bins, then a small layer
 * answers for any bin ahead. It weighs simple forecasts of that bin (softmax), corrects their mean,
 * and puts quantiles around it whose distances are positive, so that they cannot cross. Plain
 * TypeScript answers; the graph that trains it (`graph.ts`) computes the same.
 *
 * Sources: Cho et al., "Learning phrase representations using RNN encoder–decoder", 2014 (in the
 * form of cuDNN: the reset gate acts on the product); Wen et al., "A multi-horizon quantile
 * recurrent forecaster", 2017, for one answer per bin ahead instead of feeding answers back.
 */
import { z } from "zod";
import { assert } from "../../../shared/runtime/assert.ts";
import type { Random } from "../../../shared/runtime/random.ts";
import { LEVELS } from "../levels.ts";
import { BIN_FEATURES, CANDIDATES, CONTEXT, STEP_FEATURES, type Window } from "./window.ts";

export const CENTRE = LEVELS.indexOf(0.5);

/** Units of the encoder and of the answering layer. */
export type Sizes = { hidden: number; layer: number };
export const SIZES: Sizes = { hidden: 24, layer: 32 };

/** Tensors by name, row by row. */
export type Weights = Record<string, Float32Array>;

export function tensorsOf({ hidden, layer }: Sizes) {
  const outputs = LEVELS.length + CANDIDATES;
  return [
    // Columns of the first four: reset, update, new.
    { name: "wx", shape: [STEP_FEATURES, 3 * hidden] },
    { name: "bx", shape: [3 * hidden] },
    { name: "wh", shape: [hidden, 3 * hidden] },
    { name: "bh", shape: [3 * hidden] },
    { name: "w1", shape: [hidden + BIN_FEATURES, layer] },
    { name: "b1", shape: [layer] },
    { name: "w2", shape: [layer, outputs] },
    { name: "b2", shape: [outputs] },
  ] as const;
}

/** Glorot's normal initialisation; answers start as the mean of the candidates. */
export function initialWeights(random: Random, sizes: Sizes = SIZES): Weights {
  const weights: Weights = {};
  for (const { name, shape } of tensorsOf(sizes)) {
    const [rows, columns] = shape;
    const spread = columns === undefined ? 0 : Math.sqrt(2 / (rows + columns));
    const shrink = name === "w2" ? 0.3 : 1;
    weights[name] = Float32Array.from(
      { length: rows * (columns ?? 1) },
      () => spread * shrink * random.normal(),
    );
  }
  return weights;
}

export const WeightsState = z.object({
  sizes: z.object({ hidden: z.number().int().positive(), layer: z.number().int().positive() }),
  /** Base64 of little-endian float32. */
  tensors: z.record(z.string(), z.string()),
});
export type WeightsState = z.infer<typeof WeightsState>;

export function toState(weights: Weights, sizes: Sizes): WeightsState {
  const tensors: Record<string, string> = {};
  for (const { name } of tensorsOf(sizes)) {
    const data = weights[name];
    assert(data, `the network has ${name}`);
    tensors[name] = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
  }
  return { sizes, tensors };
}

/** Null when the state is of a network of another shape, or holds a number that is none. */
export function fromState(state: WeightsState): { weights: Weights; sizes: Sizes } | null {
  const weights: Weights = {};
  for (const { name, shape } of tensorsOf(state.sizes)) {
    const bytes = Uint8Array.from(Buffer.from(state.tensors[name] ?? "", "base64"));
    const length = shape.reduce((product: number, dim) => product * dim, 1);
    if (bytes.byteLength !== 4 * length) return null;
    const data = new Float32Array(bytes.buffer);
    if (!data.every(Number.isFinite)) return null;
    weights[name] = data;
  }
  return { weights, sizes: state.sizes };
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const softplus = (x: number) => (x > 30 ? x : Math.log1p(Math.exp(x)));

/** Answers windows; keeps its buffers, so one call at a time. */
export class RecurrentNetwork {
  readonly #sizes: Sizes;
  readonly #weights: Weights;
  readonly #state: Float64Array;
  readonly #gates: Float64Array;
  readonly #inputs: Float64Array;
  readonly #layer: Float64Array;
  readonly #answer: Float64Array;

  constructor(weights: Weights, sizes: Sizes = SIZES) {
    this.#sizes = sizes;
    this.#weights = weights;
    this.#state = new Float64Array(sizes.hidden);
    this.#gates = new Float64Array(3 * sizes.hidden);
    this.#inputs = new Float64Array(3 * sizes.hidden);
    this.#layer = new Float64Array(sizes.layer);
    this.#answer = new Float64Array(LEVELS.length + CANDIDATES);
  }

  /** Per bin of the window the quantiles of `LEVELS`, rising, in the series' own unit. */
  predict(window: Window): number[][] {
    this.#encode(window.steps);
    return window.bins.map(({ features, candidates }) =>
      this.#decode(features, candidates).map((q) => window.level + window.scale * q),
    );
  }

  /** Leaves the state after the last step in `#state`. */
  #encode(steps: Float32Array): void {
    const { hidden } = this.#sizes;
    const { wx, bx, wh, bh } = this.#weights;
    assert(wx && bx && wh && bh, "the network has an encoder");
    const state = this.#state.fill(0);
    for (let t = 0; t < CONTEXT; t++) {
      const step = steps.subarray(t * STEP_FEATURES, (t + 1) * STEP_FEATURES);
      product(step, wx, bx, this.#inputs);
      product(state, wh, bh, this.#gates);
      for (let j = 0; j < hidden; j++) {
        const reset = sigmoid((this.#inputs[j] ?? 0) + (this.#gates[j] ?? 0));
        const update = sigmoid((this.#inputs[hidden + j] ?? 0) + (this.#gates[hidden + j] ?? 0));
        const fresh = Math.tanh(
          (this.#inputs[2 * hidden + j] ?? 0) + reset * (this.#gates[2 * hidden + j] ?? 0),
        );
        state[j] = fresh + update * ((state[j] ?? 0) - fresh);
      }
    }
  }

  /** In scales from the level. */
  #decode(features: Float32Array, candidates: Float32Array): number[] {
    const { w1, b1, w2, b2 } = this.#weights;
    assert(w1 && b1 && w2 && b2, "the network has an answering layer");
    const layer = this.#layer;
    const { hidden } = this.#sizes;
    product(this.#state, w1.subarray(0, hidden * layer.length), b1, layer);
    addProduct(features, w1.subarray(hidden * layer.length), layer);
    for (let j = 0; j < layer.length; j++) layer[j] = Math.tanh(layer[j] ?? 0);
    product(layer, w2, b2, this.#answer);
    const raw = this.#answer;
    let top = Number.NEGATIVE_INFINITY;
    for (let c = 0; c < CANDIDATES; c++) top = Math.max(top, raw[LEVELS.length + c] ?? 0);
    let total = 0;
    let mixed = 0;
    for (let c = 0; c < CANDIDATES; c++) {
      const weight = Math.exp((raw[LEVELS.length + c] ?? 0) - top);
      total += weight;
      mixed += weight * (candidates[c] ?? 0);
    }
    const centre = mixed / total + (raw[CENTRE] ?? 0);
    const quantiles = new Array<number>(LEVELS.length).fill(centre);
    let distance = 0;
    for (let k = CENTRE - 1; k >= 0; k--) {
      distance += softplus(raw[k] ?? 0);
      quantiles[k] = centre - distance;
    }
    distance = 0;
    for (let k = CENTRE + 1; k < LEVELS.length; k++) {
      distance += softplus(raw[k] ?? 0);
      quantiles[k] = centre + distance;
    }
    return quantiles;
  }
}

/** `out` = `values` · `matrix` + `bias`. */
function product(
  values: Float32Array | Float64Array,
  matrix: Float32Array,
  bias: Float32Array,
  out: Float64Array,
): void {
  out.set(bias);
  addProduct(values, matrix, out);
}

function addProduct(
  values: Float32Array | Float64Array,
  matrix: Float32Array,
  out: Float64Array,
): void {
  const columns = out.length;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    const row = i * columns;
    for (let j = 0; j < columns; j++) out[j] = (out[j] ?? 0) + value * (matrix[row + j] ?? 0);
  }
}

/** The loss of the recurrent network and its gradients by a tape of scalars: slow and plain. */
import { LEVELS } from "../levels.ts";
import { CENTRE, type Sizes, tensorsOf, type Weights } from "./network.ts";
import type { Example } from "./trainer.ts";
import { CANDIDATES, CONTEXT, STEP_FEATURES } from "./window.ts";

/** Remembers each scalar's value and its slopes by the scalars it was made of. */
class Tape {
  readonly values: number[] = [];
  readonly #from: [index: number, slope: number][][] = [];

  put(value: number, from: [number, number][] = []): number {
    this.values.push(value);
    this.#from.push(from);
    return this.values.length - 1;
  }
  at = (i: number) => this.values[i] ?? Number.NaN;
  add = (a: number, b: number) =>
    this.put(this.at(a) + this.at(b), [
      [a, 1],
      [b, 1],
    ]);
  sub = (a: number, b: number) =>
    this.put(this.at(a) - this.at(b), [
      [a, 1],
      [b, -1],
    ]);
  mul = (a: number, b: number) =>
    this.put(this.at(a) * this.at(b), [
      [a, this.at(b)],
      [b, this.at(a)],
    ]);
  div(a: number, b: number): number {
    const ratio = this.at(a) / this.at(b);
    return this.put(ratio, [
      [a, 1 / this.at(b)],
      [b, -ratio / this.at(b)],
    ]);
  }
  exp(a: number): number {
    const value = Math.exp(this.at(a));
    return this.put(value, [[a, value]]);
  }
  tanh(a: number): number {
    const value = Math.tanh(this.at(a));
    return this.put(value, [[a, 1 - value * value]]);
  }
  sigmoid(a: number): number {
    const value = 1 / (1 + Math.exp(-this.at(a)));
    return this.put(value, [[a, value * (1 - value)]]);
  }
  softplus(a: number): number {
    return this.put(Math.log1p(Math.exp(this.at(a))), [[a, 1 / (1 + Math.exp(-this.at(a)))]]);
  }
  pinball(error: number, level: number): number {
    const slope = this.at(error) > 0 ? level : level - 1;
    return this.put(slope * this.at(error), [[error, slope]]);
  }
  sum = (items: readonly number[]) => items.reduce((sum, item) => this.add(sum, item));

  /** Slopes of one scalar by all. */
  backward(of: number): Float64Array {
    const slopes = new Float64Array(this.values.length);
    slopes[of] = 1;
    for (let i = of; i >= 0; i--)
      for (const [index, slope] of this.#from[i] ?? [])
        slopes[index] = (slopes[index] ?? 0) + (slopes[i] ?? 0) * slope;
    return slopes;
  }
}

/** Unweighted mean over the examples' bins. */
export function referenceStep(
  weights: Weights,
  sizes: Sizes,
  batch: readonly Example[],
): { loss: number; gradients: Record<string, Float64Array> } {
  const tape = new Tape();
  const first: Record<string, number> = {};
  for (const { name } of tensorsOf(sizes)) {
    first[name] = tape.values.length;
    for (const value of weights[name] ?? []) tape.put(value);
  }
  const of = (name: string, i: number) => (first[name] ?? 0) + i;
  const affine = (inputs: readonly number[], matrix: string, bias: string, columns: number) =>
    Array.from({ length: columns }, (_, j) =>
      tape.sum([
        of(bias, j),
        ...inputs.map((input, i) => tape.mul(input, of(matrix, i * columns + j))),
      ]),
    );
  const one = tape.put(1);

  const encode = (steps: Float32Array): number[] => {
    const { hidden } = sizes;
    let state = Array.from({ length: hidden }, () => tape.put(0));
    for (let t = 0; t < CONTEXT; t++) {
      const step = [...steps.subarray(t * STEP_FEATURES, (t + 1) * STEP_FEATURES)];
      const x = affine(
        step.map((v) => tape.put(v)),
        "wx",
        "bx",
        3 * hidden,
      );
      const h = affine(state, "wh", "bh", 3 * hidden);
      const get = (list: readonly number[], i: number) => list[i] ?? Number.NaN;
      state = state.map((before, j) => {
        const reset = tape.sigmoid(tape.add(get(x, j), get(h, j)));
        const update = tape.sigmoid(tape.add(get(x, hidden + j), get(h, hidden + j)));
        const gate = tape.mul(reset, get(h, 2 * hidden + j));
        const fresh = tape.tanh(tape.add(get(x, 2 * hidden + j), gate));
        return tape.add(tape.mul(tape.sub(one, update), fresh), tape.mul(update, before));
      });
    }
    return state;
  };
  const quantiles = (state: readonly number[], features: Float32Array, simple: Float32Array) => {
    const inputs = [...state, ...[...features].map((v) => tape.put(v))];
    const layer = affine(inputs, "w1", "b1", sizes.layer).map((v) => tape.tanh(v));
    const raw = affine(layer, "w2", "b2", LEVELS.length + CANDIDATES);
    const shares = raw.slice(LEVELS.length).map((v) => tape.exp(v));
    const parts = shares.map((share, i) => tape.mul(share, tape.put(simple[i] ?? 0)));
    const mixed = tape.div(tape.sum(parts), tape.sum(shares));
    const centre = tape.add(raw[CENTRE] ?? 0, mixed);
    const distances = raw.map((v) => tape.softplus(v));
    return LEVELS.map((_, k) => {
      if (k < CENTRE) return tape.sub(centre, tape.sum(distances.slice(k, CENTRE)));
      return k === CENTRE ? centre : tape.add(centre, tape.sum(distances.slice(CENTRE + 1, k + 1)));
    });
  };

  const losses = batch.flatMap(({ window, targets }) => {
    const state = encode(window.steps);
    return window.bins.flatMap(({ features, candidates }, k) =>
      quantiles(state, features, candidates).map((q, i) =>
        tape.pinball(tape.sub(tape.put(targets[k] ?? 0), q), LEVELS[i] ?? 0),
      ),
    );
  });
  const total = tape.div(tape.sum(losses), tape.put(losses.length));
  const slopes = tape.backward(total);
  const gradients: Record<string, Float64Array> = {};
  for (const { name } of tensorsOf(sizes))
    gradients[name] = slopes.slice(of(name, 0), of(name, weights[name]?.length ?? 0));
  return { loss: tape.at(total), gradients };
}

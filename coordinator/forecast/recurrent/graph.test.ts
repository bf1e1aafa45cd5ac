import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { seededRandom } from "../../../shared/runtime/random.ts";
import { ADAM, descend, rates } from "../../tensors/adam.ts";
import { OnnxSession } from "../../tensors/session.ts";
import { GRADIENT_NORM_MAX, trainingModel } from "./graph.ts";
import { initialWeights, type Sizes, tensorsOf, type Weights } from "./network.ts";
import { referenceStep } from "./reference.fixture.ts";
import { AHEADS, type Example, examples, inputsOf, lossOn, tensorsFrom } from "./trainer.ts";

const SIZES: Sizes = { hidden: 5, layer: 6 };
const random = seededRandom("recurrent graph");
const wave = Float64Array.from({ length: 900 }, (_, i) =>
  Math.max(0, 30 + 20 * Math.sin((2 * Math.PI * i) / 96) + 6 * random.normal()),
);
const series = [{ startMs: 0, binMs: 900_000, values: wave }];
const batch: Example[] = examples(series, { rows: 3, aheadMax: 30 }, seededRandom("rows"));

function weightsOf(seed: number): Weights {
  const weights = initialWeights(seededRandom(seed), SIZES);
  for (const name of ["bx", "bh", "b1", "b2"])
    weights[name] = Float32Array.from(weights[name] ?? [], () => 0.5 * random.normal());
  return weights;
}

describe("a training step of the recurrent network", () => {
  let session: OnnxSession;
  beforeAll(async () => {
    session = await OnnxSession.open(trainingModel(SIZES, AHEADS));
  });
  afterAll(() => session.close());
  const names = tensorsOf(SIZES).map(({ name }) => name);

  const gradients = (weights: Weights) =>
    session.run(
      { ...tensorsFrom(weights, SIZES), ...inputsOf(batch, SIZES), ...rates({ step: 1, rate: 0 }) },
      ["loss", "norm", ...names.map((name) => `g.${name}`)],
    );

  test("has the loss and the gradients that a tape of scalars gives (to 1e-4)", async () => {
    for (const seed of [1, 2, 3]) {
      const weights = weightsOf(seed);
      const step = await gradients(weights);
      const reference = referenceStep(weights, SIZES, batch);
      expect(step.loss?.[0]).toBeCloseTo(reference.loss, 4);
      expect(lossOn(weights, SIZES, batch)).toBeCloseTo(reference.loss, 5);
      const factor = clipFactor(reference.gradients);
      for (const name of names)
        reference.gradients[name]?.forEach((slope, i) => {
          const graph = step[`g.${name}`]?.[i] ?? Number.NaN;
          expect(Math.abs(graph - slope * factor), `${name} ${i}`).toBeLessThan(1e-4);
        });
    }
  });

  test("has the gradients that numeric differences give (every tensor)", async () => {
    const weights = weightsOf(4);
    const step = await gradients(weights);
    const factor = Math.min(1, GRADIENT_NORM_MAX / (step.norm?.[0] ?? 1));
    const nudge = 1e-3;
    for (const name of names) {
      const tensor = weights[name] ?? new Float32Array();
      for (let i = 0; i < tensor.length; i += Math.ceil(tensor.length / 40)) {
        const value = tensor[i] ?? 0;
        const at = (by: number) => {
          tensor[i] = value + by;
          return lossOn(weights, SIZES, batch);
        };
        const numeric = (at(nudge) - at(-nudge)) / (2 * nudge);
        tensor[i] = value;
        const graph = (step[`g.${name}`]?.[i] ?? Number.NaN) / factor;
        expect(Math.abs(graph - numeric), `${name} ${i}`).toBeLessThan(2e-3);
      }
    }
  });

  test("moves the weights as Adam in plain TypeScript does (three steps, to 1e-4)", async () => {
    let weights = weightsOf(5);
    let tensors = tensorsFrom(weights, SIZES);
    const zeros = () =>
      Object.fromEntries(names.map((n) => [n, new Float64Array(weights[n]?.length ?? 0)]));
    const [means, squares] = [zeros(), zeros()];
    for (const step of [1, 2, 3]) {
      const { gradients: slopes } = referenceStep(weights, SIZES, batch);
      const factor = clipFactor(slopes);
      const next: Weights = {};
      for (const name of names) {
        const old = weights[name] ?? new Float32Array();
        const mean = means[name] ?? [];
        const square = squares[name] ?? [];
        next[name] = old.map((value, i) => {
          const slope = (slopes[name]?.[i] ?? 0) * factor;
          mean[i] = ADAM.decay1 * (mean[i] ?? 0) + (1 - ADAM.decay1) * slope;
          square[i] = ADAM.decay2 * (square[i] ?? 0) + (1 - ADAM.decay2) * slope * slope;
          const size = Math.sqrt((square[i] ?? 0) / (1 - ADAM.decay2 ** step)) + ADAM.epsilon;
          return value - (0.01 * ((mean[i] ?? 0) / (1 - ADAM.decay1 ** step))) / size;
        });
      }
      weights = next;
      const stepped = await descend(session, tensors, inputsOf(batch, SIZES), { step, rate: 0.01 });
      tensors = stepped.tensors;
    }
    for (const name of names)
      tensors[name]?.data.forEach((value, i) => {
        expect(Math.abs(value - (weights[name]?.[i] ?? Number.NaN))).toBeLessThan(1e-4);
      });
  });

  function clipFactor(slopes: Record<string, Float64Array>): number {
    const all = Object.values(slopes).flatMap((g) => [...g]);
    return Math.min(1, GRADIENT_NORM_MAX / Math.hypot(...all));
  }
});

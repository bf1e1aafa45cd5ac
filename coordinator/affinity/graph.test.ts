import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FEATURES, forward, LAYER_SIZES, type Network } from "../../shared/affinity.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { ADAM, rates } from "../tensors/adam.ts";
import { OnnxSession, type Values } from "../tensors/session.ts";
import { inferenceModel, tensorsOf, trainingModel } from "./graph.ts";
import { initialNetwork, tensorsFrom, trainingStep } from "./trainer.ts";

function network(seed: number): Network {
  const random = seededRandom(seed);
  return initialNetwork(random).map((layer) => ({
    ...layer,
    bias: layer.bias.map(() => random.normal()),
  }));
}

const vector = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
  minLength: FEATURES.length,
  maxLength: FEATURES.length,
});

describe("the exported model", () => {
  test("computes what plain TypeScript does, to 1e-5 (random networks, random inputs)", async () => {
    for (const seed of [1, 2, 3, 4]) {
      const weights = network(seed);
      const session = await OnnxSession.open(inferenceModel(weights));
      const rowsOf = fc.array(vector, { minLength: 1, maxLength: 20 });
      await fc.assert(
        fc.asyncProperty(rowsOf, async (rows) => {
          const data = Float32Array.from(rows.flat());
          const shape = [rows.length, FEATURES.length];
          const { score } = await session.run({ features: { data, shape } }, ["score"]);
          rows.forEach((row, i) => {
            expect(Math.abs((score?.[i] ?? Number.NaN) - forward(weights, row))).toBeLessThan(1e-5);
          });
        }),
        { numRuns: 50 },
      );
      await session.close();
    }
  });

  test("stays small, so that agents get it in one chunk", () => {
    expect(inferenceModel(network(1)).byteLength).toBeLessThan(4096);
  });
});

describe("a training step", () => {
  const random = seededRandom("batch");
  const batch = Array.from({ length: 7 }, () => ({
    features: FEATURES.map(() => random.next()),
    target: random.next(),
    weight: 0.2 + random.next(),
  }));
  const loss = (weights: Network) => {
    const total = batch.reduce((sum, row) => sum + row.weight, 0);
    const of = (row: (typeof batch)[number]) =>
      row.weight * (forward(weights, row.features) - row.target) ** 2;
    return batch.reduce((sum, row) => sum + of(row), 0) / total;
  };
  let session: OnnxSession;
  beforeAll(async () => {
    session = await OnnxSession.open(trainingModel(LAYER_SIZES));
  });
  afterAll(() => session.close());

  async function gradients(weights: Network): Promise<Record<string, Float32Array>> {
    const column = (of: (row: (typeof batch)[number]) => number): Values => ({
      data: Float32Array.from(batch, of),
      shape: [batch.length, 1],
    });
    const inputs: Record<string, Values> = {
      ...tensorsFrom(weights),
      features: {
        data: Float32Array.from(batch.flatMap((row) => row.features)),
        shape: [batch.length, FEATURES.length],
      },
      target: column((row) => row.target),
      weight: column((row) => row.weight),
      ...rates({ step: 1, rate: 0.01 }),
    };
    return session.run(
      inputs,
      tensorsOf(LAYER_SIZES).map(({ name }) => `g.${name}`),
    );
  }

  test("has the gradients that numeric differences give (every parameter)", async () => {
    const weights = network(7);
    const analytic = await gradients(weights);
    const nudge = 1e-4;
    weights.forEach((layer, depth) => {
      for (const part of ["weights", "bias"] as const) {
        const name = `g.${part === "weights" ? "w" : "b"}${depth}`;
        layer[part].forEach((value, i) => {
          layer[part][i] = value + nudge;
          const above = loss(weights);
          layer[part][i] = value - nudge;
          const below = loss(weights);
          layer[part][i] = value;
          const numeric = (above - below) / (2 * nudge);
          expect(Math.abs((analytic[name]?.[i] ?? Number.NaN) - numeric)).toBeLessThan(1e-5);
        });
      }
    });
  });

  test("moves parameters as Adam in plain TypeScript does (two steps)", async () => {
    const start = network(9);
    let tensors = tensorsFrom(start);
    const moments = new Map<string, { mean: number; square: number; value: number }>();
    for (const step of [1, 2]) {
      const slopes = await gradients(toNetwork(tensors));
      for (const { name } of tensorsOf(LAYER_SIZES))
        slopes[`g.${name}`]?.forEach((g, i) => {
          const was = moments.get(`${name}/${i}`);
          const mean = ADAM.decay1 * (was?.mean ?? 0) + (1 - ADAM.decay1) * g;
          const square = ADAM.decay2 * (was?.square ?? 0) + (1 - ADAM.decay2) * g * g;
          const size = Math.sqrt(square / (1 - ADAM.decay2 ** step)) + ADAM.epsilon;
          const from = was?.value ?? tensors[name]?.data[i] ?? 0;
          const value = from - (0.01 * (mean / (1 - ADAM.decay1 ** step))) / size;
          moments.set(`${name}/${i}`, { mean, square, value });
        });
      const stepped = await trainingStep(session, tensors, batch, { step, rate: 0.01 });
      expect(stepped.loss).toBeCloseTo(loss(toNetwork(tensors)), 5);
      tensors = stepped.tensors;
    }
    for (const { name } of tensorsOf(LAYER_SIZES))
      tensors[name]?.data.forEach((value, i) => {
        expect(value).toBeCloseTo(moments.get(`${name}/${i}`)?.value ?? Number.NaN, 4);
      });
  });

  function toNetwork(tensors: Record<string, Values>): Network {
    return LAYER_SIZES.slice(1).map((outputs, depth) => ({
      inputs: LAYER_SIZES[depth] ?? 0,
      outputs,
      weights: Array.from(tensors[`w${depth}`]?.data ?? []),
      bias: Array.from(tensors[`b${depth}`]?.data ?? []),
    }));
  }
});

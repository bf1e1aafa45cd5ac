/**
 * The Adam optimiser as part of a training graph, and its side of a run: each trainable tensor
 * goes in with its two moments and comes out as its successor.
 * Source: Kingma & Ba, "Adam", ICLR 2015, algorithm 1.
 */
import { assert } from "../../shared/runtime/assert.ts";
import type { GraphBuilder } from "./onnx.ts";
import type { OnnxSession, Values } from "./session.ts";

export const ADAM = { decay1: 0.9, decay2: 0.999, epsilon: 1e-8 } as const;

/** A trainable tensor of a graph. */
export type TensorSpec = { name: string; shape: readonly number[] };
/** Parameters and their moments by the name of their input. */
export type Tensors = Record<string, Values>;

/**
 * Declares the inputs `rate`, `unbias1`, `unbias2` (1 / (1 − decayᵗ)) and, per tensor T, T, `m.T`
 * and `v.T`. The function it gives adds the update of one tensor for its gradient: outputs `T'`,
 * `m.T'`, `v.T'` and the gradient as `g.T`.
 */
export function adam(graph: GraphBuilder, tensors: readonly TensorSpec[]) {
  const shapes = new Map(tensors.map(({ name, shape }) => [name, shape]));
  for (const [name, shape] of shapes)
    for (const prefix of ["", "m.", "v."]) graph.input(prefix + name, shape);
  const rate = graph.input("rate", []);
  const unbias1 = graph.input("unbias1", []);
  const unbias2 = graph.input("unbias2", []);
  const decay1 = graph.scalar("decay1", ADAM.decay1);
  const decay2 = graph.scalar("decay2", ADAM.decay2);
  const fresh1 = graph.scalar("fresh1", 1 - ADAM.decay1);
  const fresh2 = graph.scalar("fresh2", 1 - ADAM.decay2);
  const epsilon = graph.scalar("epsilon", ADAM.epsilon);
  const blend = (old: string, keep: string, now: string, take: string) =>
    graph.op("Add", [graph.op("Mul", [old, keep]), graph.op("Mul", [now, take])]);

  return (name: string, gradient: string) => {
    const shape = shapes.get(name);
    assert(shape, `${name} is a declared tensor`);
    const mean = blend(`m.${name}`, decay1, gradient, fresh1);
    const square = graph.op("Mul", [gradient, gradient]);
    const variance = blend(`v.${name}`, decay2, square, fresh2);
    const root = graph.op("Sqrt", [graph.op("Mul", [variance, unbias2])]);
    const size = graph.op("Add", [root, epsilon]);
    const ratio = graph.op("Div", [graph.op("Mul", [mean, unbias1]), size]);
    const next = graph.op("Sub", [name, graph.op("Mul", [rate, ratio])]);
    graph.output(`${name}'`, next, shape);
    graph.output(`m.${name}'`, mean, shape);
    graph.output(`v.${name}'`, variance, shape);
    graph.output(`g.${name}`, gradient, shape);
  };
}

/** A tensor's values with moments of zero, as inputs of the first step. */
export function fresh({ name, shape }: TensorSpec, values: ArrayLike<number>): Tensors {
  return {
    [name]: { data: Float32Array.from(values), shape },
    [`m.${name}`]: { data: new Float32Array(values.length), shape },
    [`v.${name}`]: { data: new Float32Array(values.length), shape },
  };
}

/** What the graph takes for the `step`th step (from 1) at that learning rate. */
export function rates({ step, rate }: { step: number; rate: number }): Tensors {
  return {
    rate: scalar(rate),
    unbias1: scalar(1 / (1 - ADAM.decay1 ** step)),
    unbias2: scalar(1 / (1 - ADAM.decay2 ** step)),
  };
}

/** One run of a training graph: the loss before the step, and the tensors after it. */
export async function descend(
  session: OnnxSession,
  tensors: Tensors,
  batch: Tensors,
  at: { step: number; rate: number },
): Promise<{ loss: number; tensors: Tensors }> {
  const names = Object.keys(tensors);
  const outputs = ["loss", ...names.map((name) => `${name}'`)];
  const results = await session.run({ ...tensors, ...batch, ...rates(at) }, outputs);
  const next: Tensors = {};
  for (const name of names) {
    const data = results[`${name}'`];
    assert(data, `the training graph gives ${name}'`);
    next[name] = { data, shape: tensors[name]?.shape ?? [] };
  }
  return { loss: results.loss?.[0] ?? Number.NaN, tensors: next };
}

const scalar = (value: number): Values => ({ data: Float32Array.of(value), shape: [] });

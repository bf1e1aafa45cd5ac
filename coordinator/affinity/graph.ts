/**
 * The affinity network as two ONNX graphs of plain ops: one that scores, with the weights inside,
 * and one that does a whole training step (forward, backward, Adam), with parameters and moments
 * as inputs and their successors as outputs. So the coordinator trains in the runtime it ships
 * for, with no second one. onnxruntime's own training API was refused: its Node binding lacks it.
 */
import type { Network } from "../../shared/affinity.ts";
import { adam } from "../tensors/adam.ts";
import { type Dimension, GraphBuilder } from "../tensors/onnx.ts";

/** Name and shape of each trainable tensor, in a fixed order: weights then bias, layer by layer. */
export function tensorsOf(sizes: readonly number[]): { name: string; shape: number[] }[] {
  return sizes.slice(1).flatMap((outputs, depth) => [
    { name: `w${depth}`, shape: [sizes[depth] ?? 0, outputs] },
    { name: `b${depth}`, shape: [outputs] },
  ]);
}

/** `features` [rows, inputs] → `score` [rows, 1]. */
export function inferenceModel(network: Network): Uint8Array<ArrayBuffer> {
  const graph = new GraphBuilder("affinity");
  let values = graph.input("features", ["rows", network[0]?.inputs ?? 0]);
  network.forEach((layer, depth) => {
    const weights = graph.constant(`w${depth}`, [layer.inputs, layer.outputs], layer.weights);
    const bias = graph.constant(`b${depth}`, [layer.outputs], layer.bias);
    const sum = graph.op("Gemm", [values, weights, bias]);
    values = graph.op(depth === network.length - 1 ? "Sigmoid" : "Tanh", [sum]);
  });
  graph.output("score", values, ["rows", 1]);
  return graph.model();
}

/**
 * Inputs: `features` [rows, inputs], `target` and `weight` [rows, 1], and what Adam's step takes
 * for each tensor of `tensorsOf`. Outputs: `loss` (weighted mean squared error before the step),
 * and what Adam's step gives.
 */
export function trainingModel(sizes: readonly number[]): Uint8Array<ArrayBuffer> {
  const graph = new GraphBuilder("affinity-training");
  const column: Dimension[] = ["rows", 1];
  const features = graph.input("features", ["rows", sizes[0] ?? 0]);
  const target = graph.input("target", column);
  const weight = graph.input("weight", column);
  const one = graph.scalar("one", 1);
  const two = graph.scalar("two", 2);
  const rowAxis = graph.integers("row-axis", [0]);
  const step = adam(graph, tensorsOf(sizes));

  const depths = sizes.length - 1;
  const activations = [features];
  for (let depth = 0; depth < depths; depth++) {
    const sum = graph.op("Gemm", [activations[depth] ?? "", `w${depth}`, `b${depth}`]);
    activations.push(graph.op(depth === depths - 1 ? "Sigmoid" : "Tanh", [sum]));
  }
  const score = activations[depths] ?? "";

  const error = graph.op("Sub", [score, target]);
  const weighted = graph.op("Mul", [error, weight]);
  const total = graph.op("ReduceSum", [weight], { keepdims: 0 });
  const squares = graph.op("ReduceSum", [graph.op("Mul", [weighted, error])], { keepdims: 0 });
  graph.output("loss", graph.op("Div", [squares, total]), []);

  // ∂loss/∂(input of the last sigmoid), then layer by layer towards the features.
  const slope = graph.op("Div", [graph.op("Mul", [weighted, two]), total]);
  const sigmoidSlope = graph.op("Mul", [score, graph.op("Sub", [one, score])]);
  let back = graph.op("Mul", [slope, sigmoidSlope]);
  for (let depth = depths - 1; depth >= 0; depth--) {
    const input = activations[depth] ?? "";
    step(`w${depth}`, graph.op("Gemm", [input, back], { transA: 1 }));
    step(`b${depth}`, graph.op("ReduceSum", [back, rowAxis], { keepdims: 0 }));
    if (depth === 0) break;
    const through = graph.op("Gemm", [back, `w${depth}`], { transB: 1 });
    const tanhSlope = graph.op("Sub", [one, graph.op("Mul", [input, input])]);
    back = graph.op("Mul", [through, tanhSlope]);
  }
  return graph.model();
}

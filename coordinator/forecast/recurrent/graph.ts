/**
 * A whole training step of the recurrent network as one ONNX graph of plain ops: forward, pinball
 * loss, backward through time, gradient clipping and Adam. The time loop is unrolled; onnxruntime's
 * own GRU op was refused because its gradient is in no release for Node.
 */
import { adam } from "../../tensors/adam.ts";
import { GraphBuilder } from "../../tensors/onnx.ts";
import { LEVELS } from "../levels.ts";
import { CENTRE, type Sizes, tensorsOf } from "./network.ts";
import { BIN_FEATURES, CANDIDATES, CONTEXT, STEP_FEATURES } from "./window.ts";

/** Largest norm of all gradients together; a rare burst in a series must not throw the weights. */
export const GRADIENT_NORM_MAX = 1;

type Step = {
  before: string;
  after: string;
  reset: string;
  update: string;
  fresh: string;
  gateFresh: string;
};

/**
 * Rows are windows, each with `aheads` bins ahead. Inputs: `steps` [CONTEXT · rows, STEP_FEATURES]
 * (step by step), `start` [rows, hidden] (zeros), `features` [aheads · rows, BIN_FEATURES],
 * `candidates` [aheads · rows, CANDIDATES], `target` and `weight` [aheads · rows, 1] (bin by bin),
 * and Adam's. Outputs: `loss` (weighted mean pinball loss before the step), `norm` of the
 * gradients before clipping, and Adam's.
 */
export function trainingModel(sizes: Sizes, aheads: number): Uint8Array<ArrayBuffer> {
  const graph = new GraphBuilder("recurrent-training");
  const steps = graph.input("steps", ["steps", STEP_FEATURES]);
  const start = graph.input("start", ["rows", sizes.hidden]);
  const features = graph.input("features", ["bins", BIN_FEATURES]);
  const candidates = graph.input("candidates", ["bins", CANDIDATES]);
  const target = graph.input("target", ["bins", 1]);
  const weight = graph.input("weight", ["bins", 1]);
  const step = adam(graph, tensorsOf(sizes));
  const ops = operations(graph);

  const encoder = encode(graph, ops, steps, start);
  const state = encoder.at(-1)?.after ?? start;
  // One copy of the state for each bin ahead.
  const copies = graph.op("Concat", new Array<string>(aheads).fill(state), { axis: 0 });
  const layerInput = graph.op("Concat", [copies, features], { axis: 1 });
  const layer = graph.op("Tanh", [graph.op("Gemm", [layerInput, "w1", "b1"])]);
  const raw = graph.op("Gemm", [layer, "w2", "b2"]);
  const answer = quantiles(graph, ops, raw, candidates);
  const { loss, back: answerBack } = pinball(graph, ops, answer.quantiles, target, weight);
  graph.output("loss", loss, []);

  const rawBack = answer.backward(answerBack);
  const layerBack = ops.mul(
    graph.op("Gemm", [rawBack, "w2"], { transB: 1 }),
    ops.sub(ops.one, ops.mul(layer, layer)),
  );
  const inputBack = graph.op("Gemm", [layerBack, "w1"], { transB: 1 });
  const copiesBack = ops.columns(inputBack, sizes.hidden, BIN_FEATURES);
  const parts = aheads === 1 ? [copiesBack] : graph.split(copiesBack, aheads, 0);
  const stateBack = parts.reduce((sum, part) => ops.add(sum, part));

  const gradients = {
    w2: graph.op("Gemm", [layer, rawBack], { transA: 1 }),
    b2: ops.columnSums(rawBack),
    w1: graph.op("Gemm", [layerInput, layerBack], { transA: 1 }),
    b1: ops.columnSums(layerBack),
    ...backThroughTime(graph, ops, encoder, stateBack, steps),
  };
  const clipped = clip(graph, ops, gradients);
  for (const [name, gradient] of Object.entries(clipped)) step(name, gradient);
  return graph.model();
}

type Operations = ReturnType<typeof operations>;

function operations(graph: GraphBuilder) {
  const rowAxis = graph.integers("row-axis", [0]);
  const columnAxis = graph.integers("column-axis", [1]);
  return {
    one: graph.scalar("one", 1),
    half: graph.scalar("half", 0.5),
    add: (a: string, b: string) => graph.op("Add", [a, b]),
    sub: (a: string, b: string) => graph.op("Sub", [a, b]),
    mul: (a: string, b: string) => graph.op("Mul", [a, b]),
    columnSums: (a: string) => graph.op("ReduceSum", [a, rowAxis], { keepdims: 0 }),
    rowSums: (a: string) => graph.op("ReduceSum", [a, columnAxis], { keepdims: 1 }),
    sum: (a: string) => graph.op("ReduceSum", [a], { keepdims: 0 }),
    /** The first `width` columns, of `width` + `rest`. */
    columns: (a: string, width: number, rest: number) => graph.cut(a, [width, rest], 1)[0] ?? "",
  };
}

/** The encoder, unrolled; what the way back needs of each step. */
function encode(graph: GraphBuilder, ops: Operations, steps: string, start: string): Step[] {
  const inputs = graph.split(graph.op("Gemm", [steps, "wx", "bx"]), CONTEXT, 0);
  const trace: Step[] = [];
  let before = start;
  for (const input of inputs) {
    const [inputReset = "", inputUpdate = "", inputFresh = ""] = graph.split(input, 3, 1);
    const gates = graph.op("Gemm", [before, "wh", "bh"]);
    const [gateReset = "", gateUpdate = "", gateFresh = ""] = graph.split(gates, 3, 1);
    const reset = graph.op("Sigmoid", [ops.add(inputReset, gateReset)]);
    const update = graph.op("Sigmoid", [ops.add(inputUpdate, gateUpdate)]);
    const fresh = graph.op("Tanh", [ops.add(inputFresh, ops.mul(reset, gateFresh))]);
    const after = ops.add(fresh, ops.mul(update, ops.sub(before, fresh)));
    trace.push({ before, after, reset, update, fresh, gateFresh });
    before = after;
  }
  return trace;
}

/** ∂loss/∂(weights of the encoder), from ∂loss/∂(its last state). */
function backThroughTime(
  graph: GraphBuilder,
  ops: Operations,
  trace: readonly Step[],
  last: string,
  steps: string,
) {
  const inputBacks: string[] = [];
  const gateBacks: string[] = [];
  let back = last;
  for (const [i, step] of [...trace.entries()].reverse()) {
    const freshBack = ops.mul(
      ops.mul(back, ops.sub(ops.one, step.update)),
      ops.sub(ops.one, ops.mul(step.fresh, step.fresh)),
    );
    const slope = (gate: string) => ops.mul(gate, ops.sub(ops.one, gate));
    const resetBack = ops.mul(ops.mul(freshBack, step.gateFresh), slope(step.reset));
    const updateBack = ops.mul(ops.mul(back, ops.sub(step.before, step.fresh)), slope(step.update));
    const join = (fresh: string) => graph.op("Concat", [resetBack, updateBack, fresh], { axis: 1 });
    const gateBack = join(ops.mul(freshBack, step.reset));
    inputBacks.unshift(join(freshBack));
    gateBacks.unshift(gateBack);
    if (i === 0) break;
    const through = graph.op("Gemm", [gateBack, "wh"], { transB: 1 });
    back = ops.add(ops.mul(back, step.update), through);
  }
  const inputs = graph.op("Concat", inputBacks, { axis: 0 });
  const gates = graph.op("Concat", gateBacks, { axis: 0 });
  const befores = graph.op(
    "Concat",
    trace.map((step) => step.before),
    { axis: 0 },
  );
  return {
    wx: graph.op("Gemm", [steps, inputs], { transA: 1 }),
    bx: ops.columnSums(inputs),
    wh: graph.op("Gemm", [befores, gates], { transA: 1 }),
    bh: ops.columnSums(gates),
  };
}

/**
 * Raw answers [bins, LEVELS + CANDIDATES] into quantiles [bins, LEVELS]: a linear map of the centre
 * and of the positive distances between neighbours, plus the weighed candidates.
 */
function quantiles(graph: GraphBuilder, ops: Operations, raw: string, candidates: string) {
  const size = LEVELS.length;
  const [levels = "", logits = ""] = graph.cut(raw, [size, CANDIDATES], 1);
  const isCentre = LEVELS.map((_, k) => (k === CENTRE ? 1 : 0));
  const centreMask = graph.constant("centre", [size], isCentre);
  const distanceMask = graph.constant(
    "distances",
    [size],
    isCentre.map((x) => 1 - x),
  );
  const ladder = graph.constant("ladder", [size, size], ladderMatrix());
  const parts = ops.add(
    ops.mul(levels, centreMask),
    ops.mul(graph.op("Softplus", [levels]), distanceMask),
  );
  const shares = graph.op("Softmax", [logits], { axis: 1 });
  const mixed = ops.rowSums(ops.mul(shares, candidates));
  const backward = (back: string): string => {
    const partsBack = graph.op("Gemm", [back, ladder], { transB: 1 });
    const slopes = ops.add(centreMask, ops.mul(graph.op("Sigmoid", [levels]), distanceMask));
    const mixedBack = ops.rowSums(back);
    const logitsBack = ops.mul(ops.mul(shares, ops.sub(candidates, mixed)), mixedBack);
    return graph.op("Concat", [ops.mul(partsBack, slopes), logitsBack], { axis: 1 });
  };
  return { quantiles: ops.add(graph.op("Gemm", [parts, ladder]), mixed), backward };
}

/** Row j: what part j (the centre, or a distance) adds to each quantile. */
function ladderMatrix(): number[] {
  return LEVELS.flatMap((_, j) =>
    LEVELS.map((_, k) => {
      if (j === CENTRE) return 1;
      if (j < CENTRE) return k <= j ? -1 : 0;
      return k >= j ? 1 : 0;
    }),
  );
}

/** Mean over levels, weighted mean over bins; and its slope by the quantiles. */
function pinball(
  graph: GraphBuilder,
  ops: Operations,
  predicted: string,
  target: string,
  weight: string,
) {
  const size = graph.scalar("levels", LEVELS.length);
  // level − ½ for each: the loss is |error| / 2 + (level − ½) · error.
  const tilt = graph.constant(
    "tilt",
    [LEVELS.length],
    LEVELS.map((level) => level - 0.5),
  );
  const error = ops.sub(target, predicted);
  const side = ops.mul(graph.op("Sign", [error]), ops.half);
  const slope = ops.add(side, tilt);
  const share = graph.op("Div", [weight, ops.mul(ops.sum(weight), size)]);
  const loss = ops.sum(ops.mul(ops.mul(error, slope), share));
  const back = ops.mul(graph.op("Neg", [slope]), share);
  return { loss, back };
}

function clip<T extends Record<string, string>>(
  graph: GraphBuilder,
  ops: Operations,
  gradients: T,
): Record<keyof T, string> {
  const squares = Object.values(gradients).map((g) => ops.sum(ops.mul(g, g)));
  const norm = graph.op("Sqrt", [squares.reduce((sum, square) => ops.add(sum, square))]);
  graph.output("norm", norm, []);
  const limit = graph.scalar("norm-max", GRADIENT_NORM_MAX);
  // limit / max(norm, limit): 1 for gradients within the limit.
  const factor = graph.op("Div", [limit, graph.op("Max", [norm, limit])]);
  const clipped = Object.entries(gradients).map(([name, g]) => [name, ops.mul(g, factor)]);
  return Object.fromEntries(clipped);
}

import { readFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { GraphBuilder } from "../../tensors/onnx.ts";
import { LEVELS } from "../levels.ts";
import { MODEL_BYTES_MAX } from "./contract.ts";
import { ModelProcess, type ProcessLimits } from "./process.ts";

const L = LEVELS.length;
const PYTORCH = readFileSync(
  new URL("../../../test/fixtures/forecaster-pytorch.onnx", import.meta.url),
);
const open: ModelProcess[] = [];
function modelProcess(limits: Partial<ProcessLimits> = {}): ModelProcess {
  const made = new ModelProcess(systemClock, limits);
  open.push(made);
  return made;
}
afterEach(() => {
  for (const made of open.splice(0)) made.stop();
});

/** Repeats a projection of the past `times` times, so that it takes as long as one likes. */
function projection({ input = "past", levels = L as number, bias = 0, width = 8, times = 1 } = {}) {
  const graph = new GraphBuilder("test");
  let past = graph.input(input, ["rows", width]);
  const square = graph.constant("square", [width, width], new Float32Array(width * width));
  for (let i = 0; i < times; i++) past = graph.op("Gemm", [past, square]);
  const weights = graph.constant(
    "weights",
    [width, 2 * levels],
    new Float32Array(width * 2 * levels),
  );
  const zero = graph.constant("bias", [2 * levels], new Float32Array(2 * levels).fill(bias));
  const flat = graph.op("Gemm", [past, weights, zero]);
  const shape = graph.integers("shape", [-1, 2, levels]);
  graph.output("quantiles", graph.op("Reshape", [flat, shape]), ["rows", 2, levels]);
  return graph.model();
}
const refused = (model: Uint8Array, limits: Partial<ProcessLimits> = {}) =>
  modelProcess(limits)
    .start(model)
    .then(
      () => "started",
      (cause: { code?: string; message: string }) => `${cause.code}: ${cause.message}`,
    );

describe("a model exported from PyTorch", () => {
  test("is small enough, and says what it looks at and forecasts", async () => {
    expect(PYTORCH.byteLength).toBeLessThan(MODEL_BYTES_MAX);
    const shape = await modelProcess().start(PYTORCH);
    expect(shape).toEqual({ context: 48, horizon: 12, batches: true });
  }, 60_000);

  test("forecasts what it learned (two daily waves at once), never negative, never crossing", async () => {
    const subject = modelProcess();
    await subject.start(PYTORCH);
    const wave = (size: number, from: number, bins: number) =>
      Float32Array.from(
        { length: bins },
        (_, i) => size * (1.2 + Math.sin((2 * Math.PI * (from + i)) / 24)),
      );
    const answers = await subject.forecast([wave(40, 0, 48), wave(90, 7, 48)]);
    expect(answers).toHaveLength(2);
    for (const [row, [size = 0, from = 0]] of [
      [40, 48],
      [90, 55],
    ].entries()) {
      const answer = answers[row] ?? new Float64Array();
      const actual = wave(size, from, 12);
      let off = 0;
      for (let ahead = 0; ahead < 12; ahead++) {
        const quantiles = [...answer.subarray(ahead * L, (ahead + 1) * L)];
        expect(quantiles).toEqual(quantiles.map((q) => Math.max(0, q)).toSorted((a, b) => a - b));
        off += Math.abs((quantiles[4] ?? 0) - (actual[ahead] ?? 0)) / 12;
      }
      expect(off).toBeLessThan(0.35 * size);
    }
  }, 60_000);
});

describe("a model that is refused", () => {
  test.each([
    ["bytes that are no model", () => Uint8Array.of(1, 2, 3), /USAGE: onnxruntime: .*/],
    [
      "an input of another name",
      () => projection({ input: "x" }),
      /USAGE: the model has an input `x`: float32 \[rows, 8\]; no input `past`\. Expected one input/,
    ],
    [
      "too few levels",
      () => projection({ levels: 3 }),
      /the output `quantiles`: float32 \[rows, 2, 3\]\. Expected .* levels 0\.01, 0\.05/,
    ],
    ["answers that are no numbers", () => projection({ bias: Number.NaN }), /not finite/],
  ])(
    "%s: the error says what is expected",
    async (_, model, message) => {
      expect(await refused(model())).toMatch(message);
    },
    60_000,
  );

  test("one that takes too long to answer", async () => {
    const slow = projection({ width: 256, times: 5_000 });
    expect(await refused(slow, { answerMs: 1 })).toMatch(/TIMEOUT: the model took over 1 ms/);
  }, 60_000);

  test("one that takes too much memory", async () => {
    expect(await refused(projection(), { memoryBytes: 1 << 20 })).toMatch(/TOO_LARGE/);
  }, 60_000);
});

describe("a model in use", () => {
  test("is closed for good after a failure, and the coordinator lives on", async () => {
    const subject = modelProcess();
    await subject.start(projection());
    expect(subject.open).toBe(true);
    expect(await subject.forecast([new Float32Array(8)])).toEqual([new Float64Array(2 * L)]);
    subject.stop();
    expect(subject.open).toBe(false);
  }, 60_000);
});

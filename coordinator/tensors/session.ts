/**
 * ONNX models in onnxruntime: its only importer on this side, loaded when first needed because it
 * brings tens of megabytes. No spinning, and one thread unless asked: the machine belongs to
 * others.
 */
import type { InferenceSession, Tensor } from "onnxruntime-node";

export type Values = { data: Float32Array; shape: readonly number[] };

/** An input or output as the model declares it; a dimension is a name where it is not fixed. */
export type Declared = { name: string; type: string; shape: readonly (number | string)[] };

export class OnnxSession {
  readonly #session: InferenceSession;
  readonly #tensor: typeof Tensor;

  private constructor(session: InferenceSession, tensor: typeof Tensor) {
    this.#session = session;
    this.#tensor = tensor;
  }

  static async open(model: Uint8Array, threads = 1): Promise<OnnxSession> {
    const runtime = await import("onnxruntime-node");
    const session = await runtime.InferenceSession.create(model, {
      executionProviders: ["cpu"],
      executionMode: "sequential",
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      enableCpuMemArena: false,
      extra: { session: { intra_op: { allow_spinning: "0" } } },
    });
    return new OnnxSession(session, runtime.Tensor);
  }

  get inputs(): Declared[] {
    return this.#session.inputMetadata.map(declared);
  }

  get outputs(): Declared[] {
    return this.#session.outputMetadata.map(declared);
  }

  /** Computes only the outputs named. */
  async run(
    inputs: Readonly<Record<string, Values>>,
    outputs: readonly string[],
  ): Promise<Record<string, Float32Array>> {
    const feeds: Record<string, Tensor> = {};
    for (const [name, { data, shape }] of Object.entries(inputs))
      feeds[name] = new this.#tensor("float32", data, shape);
    const results = await this.#session.run(feeds, outputs);
    const values: Record<string, Float32Array> = {};
    for (const name of outputs) {
      const data = results[name]?.data;
      if (data instanceof Float32Array) values[name] = data;
    }
    return values;
  }

  close(): Promise<void> {
    return this.#session.release();
  }
}

function declared(value: InferenceSession.ValueMetadata): Declared {
  if (!value.isTensor) return { name: value.name, type: "no tensor", shape: [] };
  return { name: value.name, type: value.type, shape: value.shape };
}

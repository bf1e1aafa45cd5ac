/**
 * Writes ONNX models: nodes, initializers, inputs and outputs become the bytes of a `ModelProto`.
 * Field numbers are those of onnx.proto (IR version 10, opset 19: ops below are the same in 17–21).
 */
import { type Field, floats, message } from "./protobuf.ts";

const IR_VERSION = 10;
const OPSET_VERSION = 19;
const FLOAT = 1;
const INT64 = 7;
const ATTRIBUTE_INT = 2;

/** A dimension: a fixed size, or the name of one that is known only at run time. */
export type Dimension = number | string;
export type OpType =
  | "Add"
  | "Concat"
  | "Div"
  | "Gemm"
  | "Max"
  | "Mul"
  | "Neg"
  | "ReduceSum"
  | "Reshape"
  | "Sigmoid"
  | "Sign"
  | "Softmax"
  | "Softplus"
  | "Sqrt"
  | "Sub"
  | "Tanh";

/** Collects a graph; each method that adds something gives back the name to refer to it by. */
export class GraphBuilder {
  readonly #name: string;
  readonly #nodes: Uint8Array[] = [];
  readonly #initializers: Uint8Array[] = [];
  readonly #inputs: Uint8Array[] = [];
  readonly #outputs: Uint8Array[] = [];
  #made = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** How many nodes the graph has. */
  get size(): number {
    return this.#nodes.length;
  }

  input(name: string, shape: readonly Dimension[]): string {
    this.#inputs.push(valueInfo(name, shape));
    return name;
  }

  /** Makes `from` known to callers as `name`. */
  output(name: string, from: string, shape: readonly Dimension[]): void {
    this.#nodes.push(node("Identity", [from], [name], {}));
    this.#outputs.push(valueInfo(name, shape));
  }

  constant(name: string, shape: readonly number[], values: ArrayLike<number>): string {
    this.#initializers.push(
      message([
        ...shape.map((dim) => ({ number: 1, value: dim })),
        { number: 2, value: FLOAT },
        { number: 8, value: name },
        { number: 9, value: floats(values) },
      ]),
    );
    return name;
  }

  scalar(name: string, value: number): string {
    return this.constant(name, [], [value]);
  }

  /** Axes and the like. */
  integers(name: string, values: readonly number[]): string {
    this.#initializers.push(
      message([
        { number: 1, value: values.length },
        { number: 2, value: INT64 },
        ...values.map((value) => ({ number: 7, value })),
        { number: 8, value: name },
      ]),
    );
    return name;
  }

  op(type: OpType, inputs: readonly string[], attributes: Record<string, number> = {}): string {
    const output = `${type.toLowerCase()}_${this.#made++}`;
    this.#nodes.push(node(type, inputs, [output], attributes));
    return output;
  }

  /** Cuts a tensor along an axis into `parts` equal pieces. */
  split(from: string, parts: number, axis: number): string[] {
    const outputs = Array.from({ length: parts }, (_, i) => `split_${this.#made}_${i}`);
    this.#made++;
    this.#nodes.push(node("Split", [from], outputs, { axis, num_outputs: parts }));
    return outputs;
  }

  /** Cuts a tensor along an axis into pieces of these sizes. */
  cut(from: string, sizes: readonly number[], axis: number): string[] {
    const name = `cut_${this.#made++}`;
    const outputs = sizes.map((_, i) => `${name}_${i}`);
    const widths = this.integers(`${name}_sizes`, sizes);
    this.#nodes.push(node("Split", [from, widths], outputs, { axis }));
    return outputs;
  }

  model(): Uint8Array<ArrayBuffer> {
    const graph = message([
      ...this.#nodes.map((value) => ({ number: 1, value })),
      { number: 2, value: this.#name },
      ...this.#initializers.map((value) => ({ number: 5, value })),
      ...this.#inputs.map((value) => ({ number: 11, value })),
      ...this.#outputs.map((value) => ({ number: 12, value })),
    ]);
    return message([
      { number: 1, value: IR_VERSION },
      { number: 2, value: "prestage" },
      { number: 7, value: graph },
      { number: 8, value: message([{ number: 2, value: OPSET_VERSION }]) },
    ]);
  }
}

function node(
  type: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Record<string, number>,
): Uint8Array {
  const fields: Field[] = inputs.map((value) => ({ number: 1, value }));
  fields.push(...outputs.map((value) => ({ number: 2, value })), { number: 4, value: type });
  for (const [name, value] of Object.entries(attributes))
    fields.push({
      number: 5,
      value: message([
        { number: 1, value: name },
        { number: 3, value },
        { number: 20, value: ATTRIBUTE_INT },
      ]),
    });
  return message(fields);
}

function valueInfo(name: string, shape: readonly Dimension[]): Uint8Array {
  const dims = shape.map((dim) => ({
    number: 1,
    value: message([{ number: typeof dim === "number" ? 1 : 2, value: dim }]),
  }));
  const tensor = message([
    { number: 1, value: FLOAT },
    { number: 2, value: message(dims) },
  ]);
  return message([
    { number: 1, value: name },
    { number: 2, value: message([{ number: 1, value: tensor }]) },
  ]);
}

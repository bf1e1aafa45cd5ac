/**
 * Just enough protobuf to write an ONNX model: varints and length-delimited fields. Writing only,
 * never reading, so nothing here is fed by the network.
 * Source: protobuf.dev/programming-guides/encoding.
 */
export type Field = { number: number; value: number | bigint | string | Uint8Array };

function varint(out: number[], value: bigint): void {
  // Negative numbers are sent as their 64-bit two's complement.
  let rest = BigInt.asUintN(64, value);
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
}

/** Fields in the given order; repeated ones are given repeatedly. Numbers are integers. */
export function message(fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const text = new TextEncoder();
  for (const { number, value } of fields) {
    const head: number[] = [];
    if (typeof value === "number" || typeof value === "bigint") {
      varint(head, BigInt(number << 3));
      varint(head, BigInt(value));
      parts.push(Uint8Array.from(head));
      continue;
    }
    const bytes = typeof value === "string" ? text.encode(value) : value;
    varint(head, BigInt((number << 3) | 2));
    varint(head, BigInt(bytes.byteLength));
    parts.push(Uint8Array.from(head), bytes);
  }
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

/** Little-endian float32, as `TensorProto.raw_data` wants it on every machine. */
export function floats(values: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) view.setFloat32(i * 4, values[i] ?? 0, true);
  return bytes;
}

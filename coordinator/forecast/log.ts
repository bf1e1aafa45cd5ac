/**
 * Natural logarithm to 1.3e-4, from the float's exponent and a table: four times as fast as
 * `Math.log`, which is half the cost of a thousand hazard curves. For normal positive numbers.
 */
const TABLE_BITS = 12;
const TABLE = Float64Array.from({ length: 1 << TABLE_BITS }, (_, i) =>
  Math.log(1 + (i + 0.5) / (1 << TABLE_BITS)),
);
const asFloat = new Float32Array(1);
const asBits = new Uint32Array(asFloat.buffer);

export function fastLog(x: number): number {
  asFloat[0] = x;
  const bits = asBits[0] ?? 0;
  const mantissa = TABLE[(bits >>> (23 - TABLE_BITS)) & ((1 << TABLE_BITS) - 1)] ?? 0;
  return mantissa + ((bits >>> 23) - 127) * Math.LN2;
}

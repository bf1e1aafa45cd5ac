/**
 * What a user's own ONNX model has to take and give to forecast for Prestage, and what is said when
 * it does not. Levels and names are fixed, so that a model needs no settings beside its file.
 */
import { PrestageError } from "../../../shared/errors.ts";
import { LEVELS } from "../levels.ts";

export const PAST = "past";
export const QUANTILES = "quantiles";
export const MODEL_BYTES_MAX = 8 << 20;
const CONTEXT_MIN = 4;
const CONTEXT_MAX = 4096;
const HORIZON_MAX = 1440;

/** An input or output as the model declares it. */
type Declared = { name: string; type: string; shape: readonly (number | string)[] };

export type ModelShape = {
  /** Bins of past it looks at. */
  context: number;
  /** Bins it forecasts. */
  horizon: number;
  /** Whether it takes several series at once. */
  batches: boolean;
};

/** In words, for errors and help. */
export const EXPECTED =
  `one input \`${PAST}\`: float32 [rows, context], the last ${CONTEXT_MIN} to ${CONTEXT_MAX} counts, ` +
  `oldest first; and an output \`${QUANTILES}\`: float32 [rows, horizon, ${LEVELS.length}], the ` +
  `levels ${LEVELS.join(", ")} of each of the next 1 to ${HORIZON_MAX} bins; rows is a dynamic ` +
  "axis or 1, the other dimensions are fixed";

/** Throws USAGE with everything that is not as expected. */
export function checkDeclared(
  inputs: readonly Declared[],
  outputs: readonly Declared[],
): ModelShape {
  const past = inputs.find(({ name }) => name === PAST);
  const quantiles = outputs.find(({ name }) => name === QUANTILES);
  const problems = [
    ...inputs.filter(({ name }) => name !== PAST).map((i) => `an input ${text(i)}`),
    ...(past ? [] : [`no input \`${PAST}\``]),
    ...(quantiles
      ? []
      : [`no output \`${QUANTILES}\` (found: ${outputs.map(text).join(", ") || "none"})`]),
  ];
  const context = fixed(past?.shape[1], CONTEXT_MIN, CONTEXT_MAX);
  const horizon = fixed(quantiles?.shape[1], 1, HORIZON_MAX);
  if (past && !(isRows(past, 2) && context)) problems.push(`the input ${text(past)}`);
  const levels = quantiles?.shape[2] === LEVELS.length;
  if (quantiles && !(isRows(quantiles, 3) && horizon && levels))
    problems.push(`the output ${text(quantiles)}`);
  if (problems.length > 0 || !context || !horizon)
    throw new PrestageError("USAGE", `the model has ${problems.join("; ")}. Expected ${EXPECTED}`, {
      details: { problems },
    });
  return { context, horizon, batches: past?.shape[0] !== 1 };
}

const isRows = ({ type, shape }: Declared, rank: number) =>
  type === "float32" && shape.length === rank && (typeof shape[0] === "string" || shape[0] === 1);

function fixed(dimension: number | string | undefined, min: number, max: number): number | null {
  if (typeof dimension !== "number" || dimension < min || dimension > max) return null;
  return dimension;
}

const text = ({ name, type, shape }: Declared) => `\`${name}\`: ${type} [${shape.join(", ")}]`;

/** Answers as the forecaster takes them: non-negative, rising. Null when there is none in them. */
export function checkAnswer(
  data: Float32Array,
  rows: number,
  { horizon }: ModelShape,
): Float64Array[] | null {
  const size = horizon * LEVELS.length;
  if (data.length !== rows * size || !data.every(Number.isFinite)) return null;
  return Array.from({ length: rows }, (_, row) => {
    const answer = Float64Array.from(data.subarray(row * size, (row + 1) * size), (q) =>
      Math.max(0, q),
    );
    for (let at = 0; at < size; at += LEVELS.length) answer.subarray(at, at + LEVELS.length).sort();
    return answer;
  });
}

/** Daily waves of different sizes, to try a model on. */
export function trialPast(rows: number, { context }: ModelShape): Float32Array {
  return Float32Array.from({ length: rows * context }, (_, i) => {
    const row = Math.floor(i / context);
    return Math.round(10 ** (row + 1) * (1 + Math.sin((2 * Math.PI * (i % context)) / 24)));
  });
}

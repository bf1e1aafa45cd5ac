/** Series of counts from CSV (`timestamp,value`, bins of equal width); refused by line. */
import { PrestageError } from "../../shared/errors.ts";
import type { Past } from "./model.ts";

const VALUE_MAX = 1e15;
const NOT_MEASURED = new Set(["", "na", "nan", "null"]);

/** Milliseconds; null if the text is no time. */
type ParseTime = (text: string) => number | null;

/** An empty value or NaN is a bin that was not measured. Throws CONFIG_INVALID with the line. */
export function parseSeries(text: string, file: string, parseTime: ParseTime): Past {
  const refuse = (line: number, what: string): never => {
    throw new PrestageError("CONFIG_INVALID", `${file}, line ${line}: ${what}`, {
      details: { file, line },
    });
  };
  const lines = text.replace(/^\uFEFF/, "").split("\n");
  while (lines.at(-1)?.trim() === "") lines.pop();
  const names = (lines[0] ?? "").split(",").map((name) => unquoted(name).toLowerCase());
  const [timeAt, valueAt] = [names.indexOf("timestamp"), names.indexOf("value")];
  if (timeAt < 0 || valueAt < 0) refuse(1, "the header must name `timestamp` and `value`");
  const counts = new Float64Array(lines.length - 1);
  let startMs = 0;
  let binMs = 0;
  let before = 0;
  for (let i = 1; i < lines.length; i++) {
    const fields = (lines[i] ?? "").split(",");
    const atMs =
      parseTime(unquoted(fields[timeAt] ?? "")) ??
      refuse(i + 1, "the timestamp is neither ISO-8601 nor Unix seconds");
    if (i === 1) startMs = atMs;
    if (i === 2) binMs = atMs - before;
    if (i > 1 && (atMs - before !== binMs || binMs <= 0))
      refuse(i + 1, stepFault(atMs - before, binMs));
    before = atMs;
    const value = countOf(fields[valueAt]);
    if (value === null)
      refuse(i + 1, `the value \`${unquoted(fields[valueAt] ?? "")}\` is not a number`);
    else if (value < 0) refuse(i + 1, "a count is not negative; leave it empty if not measured");
    else if (value > VALUE_MAX) refuse(i + 1, "a count is at most 1e15");
    else counts[i - 1] = value;
  }
  if (counts.length < 2) refuse(lines.length, "at least two bins are needed to know their width");
  return { startMs, binMs, counts };
}

function stepFault(stepMs: number, binMs: number): string {
  if (stepMs === 0) return "repeats the timestamp before; add the counts up in one line";
  if (stepMs < 0) return "is earlier than the line before; sort the lines by timestamp";
  const bins = stepMs / binMs;
  if (Number.isInteger(bins))
    return `${bins - 1} bins are missing before it; add them with 0, or empty if not measured`;
  return `is ${stepMs / 1000} s after the line before, but bins are ${binMs / 1000} s wide`;
}

function unquoted(field: string): string {
  const bare = field.trim();
  return bare.length > 1 && bare.startsWith('"') && bare.endsWith('"') ? bare.slice(1, -1) : bare;
}

/** NaN when not measured, null when it is no number. */
function countOf(field: string | undefined): number | null {
  if (field === undefined) return null;
  const value = Number(field);
  // Nothing at all is 0 to `Number`, what stands in quotes is none.
  if (value > 0) return value;
  const text = unquoted(field);
  if (NOT_MEASURED.has(text.toLowerCase())) return Number.NaN;
  const bare = Number(text);
  return Number.isNaN(bare) ? null : bare;
}

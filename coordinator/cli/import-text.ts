/** What people read of an import. */
import { time } from "../../shared/cli/text.ts";
import type { ImportResult } from "./import.ts";

const SERIES_SHOWN = 5;

export function importText(result: ImportResult): string {
  const { input, dryRun, requests, lines, span, series, imported, format } = result;
  const read = `${number(requests)} requests of ${number(lines)} ${format === "prometheus" ? "points" : "lines"}`;
  const state = dryRun
    ? "would be imported"
    : imported === null
      ? "nothing imported"
      : imported.duplicate
        ? "imported before, nothing changed"
        : "imported";
  const text = [`${input}: ${read} ${state}`];
  if (span) text.push(`  from ${time(span.fromMs)} to ${time(span.toMs)} UTC`);
  if (imported && imported.replaced.requests > 0)
    text.push(`  in place of ${number(imported.replaced.requests)} it gave before`);
  text.push(...seriesText(series), ...badText(result));
  return `${text.join("\n")}\n`;
}

function seriesText(series: ImportResult["series"]): string[] {
  if (series.length === 0) return [];
  const shown = series
    .slice(0, SERIES_SHOWN)
    .map((s) => `    ${s.workload}/${s.category}  ${number(s.requests)}`);
  const more = series.length > SERIES_SHOWN ? [`    … ${series.length - SERIES_SHOWN} more`] : [];
  const many = series.length === 1 ? "category" : "categories";
  return [`  ${number(series.length)} ${many}:`, ...shown, ...more];
}

function badText({
  format,
  badLines,
  examples,
  unmatched,
  unmatchedExamples,
  warnings,
  failure,
}: ImportResult): string[] {
  const text: string[] = [];
  if (badLines > 0 && format === "prometheus") text.push(`  ${examples[0]?.problem}`);
  else if (badLines > 0) {
    text.push(`  ${number(badLines)} lines could not be read, the first:`);
    const several = new Set(examples.map(({ file }) => file)).size > 1;
    for (const { file, line, problem } of examples)
      text.push(`    ${several ? `${file} ` : ""}line ${line}: ${printable(problem)}`);
  }
  if (unmatched > 0) {
    const what =
      format === "prometheus"
        ? "series do not have the workload's label"
        : "requests are no declared workload's";
    text.push(`  ${number(unmatched)} ${what}, for example:`);
    for (const example of unmatchedExamples) text.push(`    ${printable(example)}`);
  }
  for (const warning of warnings) text.push(`  Prometheus warns: ${printable(warning)}`);
  if (failure) text.push(`  ${printable(failure.message)}`);
  return text;
}

/** Bytes of a log must not steer the terminal. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, " ");
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}

/** How forecasts are drawn and named on the terminal. */
import { percent } from "../../shared/cli/text.ts";

const FAN_WIDTH = 48;

/** The 90 % interval as `-`, the middle half as `=`, the median as `|`. */
export function fan(row: readonly number[], levels: readonly number[], highest: number): string {
  const at = (level: number) =>
    Math.round(((row[levels.indexOf(level)] ?? 0) / highest) * (FAN_WIDTH - 1));
  const cells = Array.from({ length: FAN_WIDTH }, (_, i) => {
    if (i === at(0.5)) return "|";
    if (i >= at(0.25) && i <= at(0.75)) return "=";
    return i >= at(0.05) && i <= at(0.95) ? "-" : " ";
  });
  return cells.join("").trimEnd();
}

const BARS = " ▁▂▃▄▅▆▇█";

/** One bar for so many bins, as high as their mean. */
export function bars(counts: readonly number[], binsEach: number): string {
  const means: number[] = [];
  for (let i = 0; i < counts.length; i += binsEach) {
    const part = counts.slice(i, i + binsEach);
    means.push(part.reduce((sum, count) => sum + count, 0) / part.length);
  }
  const highest = Math.max(...means, 0);
  if (highest === 0) return " ".repeat(means.length);
  // What is not nothing is seen.
  return means.map((mean) => BARS[Math.ceil((mean / highest) * (BARS.length - 1))] ?? " ").join("");
}

export function shortNumber(value: number): string {
  return value >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

export function mixText(mix: Record<string, number>): string {
  return Object.entries(mix)
    .filter(([, share]) => share >= 0.005)
    .sort(([, a], [, b]) => b - a)
    .map(([name, share]) => `${name} ${percent(share)}`)
    .join(", ");
}

/** `30s`, `5m`, `2h`, `1d` as people type them, in milliseconds. */
import { PrestageError } from "../errors.ts";

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export function parseDuration(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim());
  const unit = UNITS[match?.[2] ?? ""];
  if (!match || unit === undefined)
    throw new PrestageError("USAGE", `${option} ${text}: a duration looks like 30s, 5m, 2h or 1d`);
  return Math.round(Number(match[1]) * unit);
}

/** Cron expressions and wall-clock times in a time zone, as epoch milliseconds. The only importer of croner. */
import { Cron } from "croner";
import { z } from "zod";
import { parseDuration } from "./cli/duration.ts";
import { PrestageError } from "./errors.ts";

export const TimeZone = z
  .string()
  .max(64)
  .refine(isTimeZone, "an IANA time zone, such as Europe/Berlin or UTC");

export const CronTime = z.strictObject({
  /** Minute, hour, day of month, month, day of week. */
  expression: z.string().min(1).max(100),
  timeZone: TimeZone,
});
export type CronTime = z.infer<typeof CronTime>;

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** The first time after `afterMs`; null when there is none. Throws USAGE for what is no cron. */
export function nextCronMs({ expression, timeZone }: CronTime, afterMs: number): number | null {
  try {
    const cron = new Cron(expression, { timezone: timeZone, mode: "5-part" });
    return cron.nextRun(new Date(afterMs))?.getTime() ?? null;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PrestageError("USAGE", `cron ${JSON.stringify(expression)}: ${why}`, {
      cause,
      remedy: "Five fields: minute hour day-of-month month day-of-week, e.g. '30 3 * * 1-5'.",
    });
  }
}

/**
 * `2026-11-28T03:00`, with or without seconds and offset, `03:00` (the next one) or `2h` from now,
 * in the time zone. Throws USAGE naming `option`.
 */
export function parseTime(text: string, option: string, timeZone: string, nowMs: number): number {
  if (/^\d+(\.\d+)?(ms|s|m|h|d)$/.test(text)) return nowMs + parseDuration(text, option);
  const clock = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(text);
  if (clock) {
    const expression = `${Number(clock[2])} ${Number(clock[1])} * * *`;
    const nextMs = nextCronMs({ expression, timeZone }, nowMs);
    if (nextMs !== null) return nextMs;
  }
  const iso = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?))?(Z|[+-]\d\d:\d\d)?$/.exec(text);
  const [, date = "", time = "00:00", offset] = iso ?? [];
  const whole = `${date}T${time.length === 5 ? `${time}:00` : time}`;
  const atMs = iso && (offset ? Date.parse(`${whole}${offset}`) : localMs(whole, timeZone));
  if (atMs === null || Number.isNaN(atMs))
    throw new PrestageError(
      "USAGE",
      `${option} ${text}: a time looks like 2026-11-28T03:00, 03:00, or 2h (from now)`,
    );
  return atMs;
}

function localMs(local: string, timeZone: string): number | null {
  try {
    const once = new Cron(local, { timezone: timeZone });
    return once.nextRun(new Date(0))?.getTime() ?? null;
  } catch {
    return null;
  }
}

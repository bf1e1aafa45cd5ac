/** The clock on a wall in a time zone. */
import { PrestageError } from "./errors.ts";

/**
 * What it shows at a time, as milliseconds since 1970 as if the zone were UTC; whole seconds. Throws
 * USAGE for a zone there is not.
 */
export function wallTime(timeZone: string): (utcMs: number) => number {
  const format = formatOf(timeZone);
  return (utcMs) => {
    const parts = Object.fromEntries(
      format.formatToParts(utcMs).map(({ type, value }) => [type, Number(value)]),
    );
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
    return Date.UTC(year, month - 1, day, hour, minute, second);
  };
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat("en-US", {
      ...{ timeZone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric" },
      ...{ hour: "numeric", minute: "numeric", second: "numeric" },
    });
  } catch (cause) {
    throw new PrestageError("USAGE", `no time zone is called ${timeZone}: e.g. Europe/Berlin`, {
      cause,
    });
  }
}

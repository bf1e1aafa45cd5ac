/** Times as recordings write them. */

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const CLF = /^(\d{1,2})\/([A-Za-z]{3})\/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})$/;
const ZONED = /(?:z|[+-]\d{2}:?\d{2})$/i;

/** Milliseconds of an ISO time (UTC unless it says otherwise) or an epoch number; null if none. */
export function parseTimestamp(text: string): number | null {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  const number = Number(trimmed);
  if (Number.isFinite(number)) return number < 0 ? null : epochMs(number);
  if (!/^\d{4}-\d{2}-\d{2}/.test(trimmed)) return parseClf(trimmed);
  const iso = trimmed.replace(" ", "T");
  const time = Date.parse(iso.length > 10 && !ZONED.test(iso.slice(10)) ? `${iso}Z` : iso);
  return Number.isNaN(time) || time < 0 ? null : time;
}

/** `17/May/2015:10:05:03 +0000`, as web servers write it. */
export function parseClf(text: string): number | null {
  const match = CLF.exec(text);
  if (!match) return null;
  const [, day, monthName = "", year, hour, minute, second, sign, zoneHours, zoneMinutes] = match;
  const month = MONTHS.indexOf(monthName.toLowerCase());
  if (month < 0) return null;
  const local = Date.UTC(
    +(year ?? 0),
    month,
    +(day ?? 0),
    +(hour ?? 0),
    +(minute ?? 0),
    +(second ?? 0),
  );
  const zone = (+(zoneHours ?? 0) * 60 + +(zoneMinutes ?? 0)) * 60_000;
  return sign === "-" ? local + zone : local - zone;
}

/** Seconds, milliseconds, micro- or nanoseconds, told apart by size. */
function epochMs(value: number): number {
  if (value < 1e11) return Math.round(value * 1000);
  if (value < 1e14) return Math.round(value);
  return Math.round(value < 1e17 ? value / 1e3 : value / 1e6);
}

/** Times as recordings write them. */
import { wallTime } from "../../shared/wall-clock.ts";

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const CLF = /^(\d{1,2})\/([A-Za-z]{3})\/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})$/;
const ISO = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?/;
const ZONED = /(?:z|[+-]\d{2}:?\d{2})$/i;
const HOUR_MS = 3_600_000;

/** UTC of a time that was read off a clock on a wall, given as if that were UTC. */
export type WallClock = (localMs: number) => number;
export const UTC: WallClock = (localMs) => localMs;

/** Milliseconds of an ISO time or an epoch number; null if it is none. */
export function parseTimestamp(text: string, unzoned: WallClock = UTC): number | null {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  const number = Number(trimmed);
  if (Number.isFinite(number)) return number < 0 ? null : epochMs(number);
  const match = ISO.exec(trimmed);
  if (!match) return parseClf(trimmed);
  if (match[4] !== undefined && ZONED.test(trimmed.slice(10))) {
    const zoned = trimmed.replace(" ", "T").replace(",", ".").replace(" ", "");
    const time = Date.parse(zoned.replace(/([+-]\d{2})(\d{2})$/, "$1:$2"));
    return Number.isNaN(time) || time < 0 ? null : time;
  }
  if (match[0].length !== trimmed.length) return null;
  const [, year, month, day, hour = 0, minute = 0, second = 0, fraction = "0"] = match;
  const local = civilMs(+(year ?? 0), +(month ?? 0) - 1, +(day ?? 0), +hour, +minute, +second);
  if (local === null) return null;
  const time = unzoned(local + Math.floor(Number(`0.${fraction}`) * 1000));
  return time < 0 ? null : time;
}

/** `17/May/2015:10:05:03 +0000`, as web servers write it. */
export function parseClf(text: string): number | null {
  const match = CLF.exec(text);
  if (!match) return null;
  const [, day, monthName = "", year, hour, minute, second, sign, zoneHours, zoneMinutes] = match;
  const month = MONTHS.indexOf(monthName.toLowerCase());
  const local = civilMs(
    +(year ?? 0),
    month,
    +(day ?? 0),
    +(hour ?? 0),
    +(minute ?? 0),
    +(second ?? 0),
  );
  if (local === null) return null;
  const zone = (+(zoneHours ?? 0) * 60 + +(zoneMinutes ?? 0)) * 60_000;
  return sign === "-" ? local + zone : local - zone;
}

/** Parses `parseClf` times that mostly come in order: lines of one minute share the work. */
export class ClfTimes {
  #minute = "";
  #zone = "";
  #minuteMs = 0;

  parse(text: string): number | null {
    // dd/Mon/yyyy:hh:mm:ss +zzzz
    if (text.length !== 26) return parseClf(text);
    const second = (text.charCodeAt(18) - 48) * 10 + text.charCodeAt(19) - 48;
    if (text.startsWith(this.#minute) && text.endsWith(this.#zone) && this.#minute !== "") {
      const digits = /^\d\d$/.test(text.slice(18, 20)) && second <= 60;
      return digits ? this.#minuteMs + second * 1000 : null;
    }
    const time = parseClf(text);
    if (time === null) return null;
    this.#minute = text.slice(0, 18);
    this.#zone = text.slice(20);
    this.#minuteMs = time - second * 1000;
    return time;
  }
}

/** The clock on a wall in an IANA time zone. Throws USAGE for a zone there is not. */
export function wallClock(timeZone: string): WallClock {
  const shownAt = wallTime(timeZone);
  const offsets = new Map<number, number>();
  return (localMs) => {
    // Offsets change at quarters of an hour, nowhere finer.
    const quarter = Math.floor(localMs / (HOUR_MS / 4)) * (HOUR_MS / 4);
    let offset = offsets.get(quarter);
    if (offset === undefined) {
      const guess = quarter - (shownAt(quarter) - quarter);
      offset = shownAt(guess) - guess;
      if (offsets.size >= 100_000) offsets.clear();
      offsets.set(quarter, offset);
    }
    return localMs - offset;
  };
}

/** Null for a date or time there is not; the 60th second of a leap second is one. */
function civilMs(
  year: number,
  month: number,
  day: number,
  hour: number,
  minute: number,
  second: number,
): number | null {
  if (month < 0 || hour > 23 || minute > 59 || second > 60) return null;
  const midnight = Date.UTC(year, month, day);
  const date = new Date(midnight);
  if (date.getUTCMonth() !== month || date.getUTCDate() !== day) return null;
  return midnight + ((hour * 60 + minute) * 60 + second) * 1000;
}

/** Seconds, milliseconds, micro- or nanoseconds, told apart by size. */
function epochMs(value: number): number {
  if (value < 1e11) return Math.round(value * 1000);
  if (value < 1e14) return Math.round(value);
  return Math.round(value < 1e17 ? value / 1e3 : value / 1e6);
}

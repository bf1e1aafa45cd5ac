/** What the calendar and the clock on the wall say of a moment. */
import { wallTime } from "../../shared/wall-clock.ts";

const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
/** 1970 began on a Thursday. */
const EPOCH_WEEKDAY = 4;
/** Of a zone, hours that are looked up once. */
const HOURS_KNOWN_MAX = 20_000;

export type Calendar = {
  /** Whether people have the day off: Saturdays, Sundays and holidays. */
  isDayOff(ms: number): boolean;
  /** How far the clock on the wall is ahead of UTC; null when it never is. */
  aheadMs: ((ms: number) => number) | null;
};

export const UTC_CALENDAR: Calendar = { isDayOff: isWeekend, aheadMs: null };

/** `isHoliday` is asked about days of that zone, as days since 1970. */
export function calendarOf(
  timeZone: string,
  isHoliday: (day: number) => boolean = () => false,
): Calendar {
  const aheadMs = timeZone === "UTC" ? null : aheadOf(timeZone);
  const isDayOff = (ms: number) => {
    const wallMs = ms + (aheadMs?.(ms) ?? 0);
    return isWeekend(wallMs) || isHoliday(Math.floor(wallMs / DAY_MS));
  };
  return { isDayOff, aheadMs };
}

function isWeekend(wallMs: number): boolean {
  const day = (Math.floor(wallMs / DAY_MS) + EPOCH_WEEKDAY) % 7;
  return day === 0 || day === 6;
}

/** By the hour: clocks are put forward or back at whole hours. */
function aheadOf(timeZone: string): (ms: number) => number {
  const shownAt = wallTime(timeZone);
  const known = new Map<number, number>();
  return (ms) => {
    const hour = Math.floor(ms / HOUR_MS);
    const before = known.get(hour);
    if (before !== undefined) return before;
    const ahead = shownAt(hour * HOUR_MS) - hour * HOUR_MS;
    if (known.size === HOURS_KNOWN_MAX) known.clear();
    known.set(hour, ahead);
    return ahead;
  };
}

/** The same of a series' bins, which are counted from its first. */
export class BinCalendar {
  /** Bins of a day; not whole when a day is no multiple of a bin. */
  readonly day: number;
  readonly #startMs: number;
  readonly #binMs: number;
  readonly #calendar: Calendar;
  readonly #startAheadMs: number;

  constructor({ startMs, binMs }: { startMs: number; binMs: number }, calendar: Calendar) {
    this.day = DAY_MS / binMs;
    this.#startMs = startMs;
    this.#binMs = binMs;
    this.#calendar = calendar;
    this.#startAheadMs = calendar.aheadMs?.(startMs) ?? 0;
  }

  isDayOff(bin: number): boolean {
    return this.#calendar.isDayOff(this.#startMs + bin * this.#binMs);
  }

  /** Bins that the clock on the wall has been put forward since the first. */
  shift(bin: number): number {
    const { aheadMs } = this.#calendar;
    if (aheadMs === null) return 0;
    const moved = aheadMs(this.#startMs + bin * this.#binMs) - this.#startAheadMs;
    return Math.round(moved / this.#binMs);
  }
}

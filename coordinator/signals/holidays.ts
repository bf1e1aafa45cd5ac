/** Public holidays of a country as all-day events. The only importer of date-holidays. */
import Holidays from "date-holidays";
import type { Read } from "./calendar.ts";
import { shortText } from "./event.ts";
import type { SignalSource } from "./settings.ts";

const DAY_MS = 86_400_000;

export type HolidaySettings = Pick<
  Extract<SignalSource, { type: "holidays" }>,
  "country" | "state" | "region" | "kinds" | "timeZone"
>;

/** Throws for a country, state or region that is not known. */
export function readHolidays(
  { country, state, region, kinds, timeZone }: HolidaySettings,
  { fromMs, toMs }: { fromMs: number; toMs: number },
): Read {
  const of = requirePlace(country, state, region);
  const zone = timeZone ?? new Holidays(of).getTimezones()[0] ?? "UTC";
  const holidays = new Holidays(of, { types: kinds, timezone: zone });
  const first = new Date(fromMs).getUTCFullYear() - 1;
  const last = new Date(toMs).getUTCFullYear() + 1;
  const years = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const events = years
    .flatMap((year) => holidays.getHolidays(year))
    .map(({ name, start, end, type, rule }) => ({
      id: `${shortText(rule)} ${start.getTime()}`,
      startMs: start.getTime(),
      endMs: end.getTime(),
      summary: shortText(name),
      categories: [type],
      location: "",
      description: "",
    }))
    .filter(({ startMs, endMs }) => startMs < toMs && endMs > fromMs);
  return { events, problems: [] };
}

/**
 * Whether a day (so many since 1970) has a public holiday; years are looked up once each. Throws for
 * a country or state that is not known.
 */
export function holidayDays(country: string, state?: string): (day: number) => boolean {
  const holidays = new Holidays(requirePlace(country, state), { types: ["public"] });
  const years = new Map<number, ReadonlySet<number>>();
  return (day) => {
    const year = new Date(day * DAY_MS).getUTCFullYear();
    const known = years.get(year) ?? new Set(holidays.getHolidays(year).flatMap(daysOf));
    years.set(year, known);
    return known.has(day);
  };
}

/** `date` is as on the wall there: `2026-12-25 00:00:00`, perhaps with a zone. */
function daysOf({ date, start, end }: { date: string; start: Date; end: Date }): number[] {
  const first = Math.floor(Date.parse(`${date.slice(0, 10)}T00:00:00Z`) / DAY_MS);
  const days = Math.max(1, Math.round((end.getTime() - start.getTime()) / DAY_MS));
  return Array.from({ length: days }, (_, i) => first + i);
}

function requirePlace(country: string, state?: string, region?: string) {
  const all = new Holidays();
  const known = (names: Record<string, string> | undefined, wanted: string, what: string) => {
    const found = Object.keys(names ?? {}).find((n) => n.toLowerCase() === wanted.toLowerCase());
    if (found === undefined) throw new Error(`no holidays are known of ${what} ${wanted}`);
    return found;
  };
  const land = known(all.getCountries(), country, "country");
  if (state === undefined) return { country: land };
  const part = known(all.getStates(land), state, `${land}, state`);
  if (region === undefined) return { country: land, state: part };
  return {
    country: land,
    state: part,
    region: known(all.getRegions(land, part), region, `${land}-${part}, region`),
  };
}

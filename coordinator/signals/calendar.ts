/**
 * iCalendar into events. Recurrence is worked out on wall-clock times (ical.js: rules, added and
 * excluded dates, changed and cancelled occurrences), which then become instants in the time zone
 * of the event: an IANA name by Temporal, any other by the calendar's own VTIMEZONE. The only
 * importer of ical.js.
 */
import ICAL from "ical.js";
import { EVENT_MS_MAX, EVENTS_MAX, type SignalEvent, shortText } from "./event.ts";
import { isTimeZone } from "./settings.ts";

const DAY_MS = 86_400_000;
/** A changed occurrence is found when it was moved by less than that. */
const MOVED_MS = 31 * DAY_MS;
/** Occurrences of one rule that are walked over to get to the time asked for. */
const STEPS_MAX = 100_000;

export type CalendarOptions = { fromMs: number; toMs: number; timeZone: string | undefined };
type Zones = {
  own: Map<string, ICAL.Timezone>;
  floating: string;
  /** Whether a name is one of IANA's; looking that up is slow. */
  isKnown(name: string): boolean;
};
export type Read = { events: SignalEvent[]; problems: string[] };

/** Events that reach into `[fromMs, toMs)`; throws when the text is no calendar. */
export function readCalendar(text: string, { fromMs, toMs, timeZone }: CalendarOptions): Read {
  const events: SignalEvent[] = [];
  const problems = new Map<string, number>();
  for (const calendar of calendarsOf(text)) {
    const zones = zonesOf(calendar, timeZone);
    for (const { master, changed } of eventsOf(calendar)) {
      try {
        for (const event of occurrences(master, changed, zones, { fromMs, toMs }))
          if (event.startMs < toMs && Math.max(event.endMs, event.startMs + 1) > fromMs)
            events.push(event);
      } catch (cause) {
        const message = shortText(cause instanceof Error ? cause.message : String(cause));
        problems.set(message, (problems.get(message) ?? 0) + 1);
      }
      if (events.length > 2 * EVENTS_MAX) break;
    }
  }
  return {
    events,
    problems: [...problems].slice(0, 10).map(([text_, n]) => `${n} events not read: ${text_}`),
  };
}

function calendarsOf(text: string): ICAL.Component[] {
  const parsed: unknown = ICAL.parse(text);
  const list = Array.isArray(parsed) && typeof parsed[0] === "string" ? [parsed] : parsed;
  const calendars = (Array.isArray(list) ? list : []).map((jcal) => new ICAL.Component(jcal));
  if (!calendars.some(({ name }) => name === "vcalendar")) throw new Error("no VCALENDAR in it");
  return calendars.filter(({ name }) => name === "vcalendar");
}

function zonesOf(calendar: ICAL.Component, timeZone: string | undefined): Zones {
  const own = new Map(
    calendar.getAllSubcomponents("vtimezone").map((component) => {
      const zone = new ICAL.Timezone(component);
      return [zone.tzid, zone] as const;
    }),
  );
  const named = String(calendar.getFirstPropertyValue("x-wr-timezone") ?? "");
  const asked = new Map<string, boolean>();
  const isKnown = (name: string) => {
    const known = asked.get(name) ?? isTimeZone(name);
    asked.set(name, known);
    return known;
  };
  return { own, floating: timeZone ?? (named && isKnown(named) ? named : "UTC"), isKnown };
}

/** By UID: the event itself, and occurrences that were changed; those alone where it is missing. */
function eventsOf(calendar: ICAL.Component) {
  const all = calendar.getAllSubcomponents("vevent");
  const isChanged = (event: ICAL.Component) => event.hasProperty("recurrence-id");
  const uidOf = (event: ICAL.Component) => String(event.getFirstPropertyValue("uid") ?? "");
  const changed = Map.groupBy(all.filter(isChanged), uidOf);
  const masters = all.filter((event) => !isChanged(event));
  const known = new Set(masters.map(uidOf));
  return [
    ...masters.map((master) => ({ master, changed: changed.get(uidOf(master)) ?? [] })),
    ...all
      .filter((event) => isChanged(event) && !known.has(uidOf(event)))
      .map((master) => ({ master, changed: [] })),
  ];
}

function* occurrences(
  master: ICAL.Component,
  changed: ICAL.Component[],
  zones: Zones,
  { fromMs, toMs }: { fromMs: number; toMs: number },
): Generator<SignalEvent> {
  const event = new ICAL.Event(master, { exceptions: changed, strictExceptions: false });
  if (!event.isRecurring() || master.hasProperty("recurrence-id")) {
    yield* eventOf(event, event.startDate, event.endDate, zones);
    return;
  }
  const iterator = event.iterator();
  const tzid = tzidOf(master);
  for (let steps = 0; ; steps++) {
    const next = iterator.next();
    if (!next) return;
    if (steps >= STEPS_MAX) throw new Error(`over ${STEPS_MAX} occurrences`);
    const atMs = instantOf(next, tzid, zones);
    if (atMs > toMs + MOVED_MS) return;
    if (atMs < fromMs - MOVED_MS - EVENT_MS_MAX) continue;
    const { item, startDate, endDate } = event.getOccurrenceDetails(next);
    yield* eventOf(item, startDate, endDate, zones);
  }
}

function* eventOf(
  event: ICAL.Event,
  start: ICAL.Time,
  end: ICAL.Time | null,
  zones: Zones,
): Generator<SignalEvent> {
  const { component } = event;
  if (String(component.getFirstPropertyValue("status") ?? "").toUpperCase() === "CANCELLED") return;
  const startMs = instantOf(start, tzidOf(component), zones);
  const ends = end ? instantOf(end, tzidOf(component, "dtend"), zones) : startMs;
  const categories = component
    .getAllProperties("categories")
    .flatMap((property) => property.getValues())
    .map(shortText)
    .filter((text) => text !== "");
  yield {
    id: shortText(event.uid) || shortText(event.summary),
    startMs,
    endMs: Math.min(Math.max(ends, startMs), startMs + EVENT_MS_MAX),
    summary: shortText(event.summary),
    categories,
    location: shortText(event.location),
    description: shortText(event.description),
  };
}

function tzidOf(component: ICAL.Component, name = "dtstart"): string | null {
  const property = component.getFirstProperty(name) ?? component.getFirstProperty("dtstart");
  const tzid = property?.getFirstParameter("tzid");
  return tzid ? String(tzid) : null;
}

/** Throws for a time zone nobody knows. In the hour a clock skips, the later time is meant. */
function instantOf(time: ICAL.Time, tzid: string | null, zones: Zones): number {
  const { year, month, day, hour, minute, second } = time;
  if (time.zone?.tzid === "UTC") return Date.UTC(year, month - 1, day, hour, minute, second);
  const own = tzid === null || zones.isKnown(tzid) ? undefined : zones.own.get(tzid);
  if (own && !time.isDate) {
    const local = new ICAL.Time({ year, month, day, hour, minute, second, isDate: false }, own);
    return local.toUnixTime() * 1000;
  }
  const name = tzid === null || time.isDate ? zones.floating : tzid;
  if (!zones.isKnown(name)) throw new Error(`time zone ${shortText(name)} is not known`);
  const wall = time.isDate
    ? Temporal.PlainDateTime.from({ year, month, day })
    : Temporal.PlainDateTime.from({ year, month, day, hour, minute, second });
  return wall.toZonedDateTime(name, { disambiguation: "compatible" }).epochMilliseconds;
}

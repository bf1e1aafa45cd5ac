/**
 * Which events concern a category when: every known event by the workloads it is mapped to, in
 * order of time.
 */
import { type EventWindow, nearer, windowFromMs, windowToMs } from "./window.ts";

/** What a rule maps an event to; null = every workload, every category of it. */
export type Target = { workload: string | null; category: string | null };
export type PlacedEvent = EventWindow & { targets: readonly Target[] };

type Lane = { events: PlacedEvent[]; longestMs: number };
const ANY = "*";

export class Timeline {
  readonly #sources = new Map<string, readonly PlacedEvent[]>();
  #lanes: Map<string, Lane> | null = null;
  #size = 0;

  /** Replaces a source's events. */
  set(source: string, events: readonly PlacedEvent[]): void {
    if (events.length === 0) this.#sources.delete(source);
    else this.#sources.set(source, events);
    this.#lanes = null;
    this.#size = [...this.#sources.values()].reduce((sum, list) => sum + list.length, 0);
  }

  get size(): number {
    return this.#size;
  }

  all(): PlacedEvent[] {
    return [...this.#sources.values()].flat();
  }

  /** Events of a category whose window reaches into `[fromMs, toMs)`, in order of their start. */
  around(workload: string, category: string, fromMs: number, toMs: number): PlacedEvent[] {
    if (this.#size === 0) return [];
    const lanes = this.#byWorkload();
    return [lanes.get(workload), lanes.get(ANY)]
      .flatMap((lane) => (lane ? within(lane, fromMs, toMs) : []))
      .filter(({ targets }) =>
        targets.some(
          (to) =>
            (to.workload === null || to.workload === workload) &&
            (to.category === null || to.category === category),
        ),
      );
  }

  #byWorkload(): Map<string, Lane> {
    if (this.#lanes) return this.#lanes;
    const lanes = new Map<string, Lane>();
    for (const event of this.all()) {
      const names = new Set(event.targets.map((to) => to.workload ?? ANY));
      // An event of every workload stands there alone, so that it is found once.
      for (const name of names.has(ANY) ? [ANY] : names) {
        const lane = lanes.get(name) ?? { events: [], longestMs: 0 };
        lane.events.push(event);
        lane.longestMs = Math.max(lane.longestMs, windowToMs(event) - windowFromMs(event));
        lanes.set(name, lane);
      }
    }
    for (const { events } of lanes.values())
      events.sort((a, b) => windowFromMs(a) - windowFromMs(b) || (a.id < b.id ? -1 : 1));
    this.#lanes = lanes;
    return lanes;
  }
}

function within({ events, longestMs }: Lane, fromMs: number, toMs: number): PlacedEvent[] {
  const found: PlacedEvent[] = [];
  for (let i = firstFrom(events, fromMs - longestMs); i < events.length; i++) {
    const event = events[i];
    if (!event || windowFromMs(event) >= toMs) break;
    if (windowToMs(event) > fromMs) found.push(event);
  }
  return found;
}

function firstFrom(events: readonly PlacedEvent[], fromMs: number): number {
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const event = events[middle];
    if (event && windowFromMs(event) < fromMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * For moments that are asked for in rising order: the events that are on, one per signal. Each
 * event is looked at once.
 */
export function activeInOrder(events: readonly PlacedEvent[]): (atMs: number) => PlacedEvent[] {
  const coming = events.toSorted((a, b) => windowFromMs(a) - windowFromMs(b));
  let next = 0;
  let open: PlacedEvent[] = [];
  return (atMs) => {
    for (; ; next++) {
      const event = coming[next];
      if (!event || windowFromMs(event) > atMs) break;
      open.push(event);
    }
    if (open.some((event) => windowToMs(event) <= atMs))
      open = open.filter((event) => windowToMs(event) > atMs);
    return open.length < 2 ? [...open] : activeAt(open, atMs);
  };
}

/** Of the events whose window a moment is in: one per signal, the one that is nearest. */
export function activeAt(events: readonly PlacedEvent[], atMs: number): PlacedEvent[] {
  const active = new Map<string, PlacedEvent>();
  for (const event of events) {
    if (atMs < windowFromMs(event) || atMs >= windowToMs(event)) continue;
    const other = active.get(event.signal);
    active.set(event.signal, other && nearer(other, event, atMs) === other ? other : event);
  }
  return [...active.values()];
}

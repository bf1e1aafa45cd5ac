/**
 * One ensemble per category, each a function of the history alone: fitted to the days before an
 * anchor, then taken on minute by minute. Anchors are fixed by the clock and the category's own
 * beginning, so one that was never stopped and one that starts now hold the same.
 */
import { DEMAND_BIN_MS } from "../../shared/domain.ts";
import type { Calendar } from "./calendar.ts";
import { Ensemble, type Learning } from "./ensemble.ts";

const DAY = 1440;
/** A category younger than that, in bins, is fitted anew each time it is twice as old. */
const YOUNG_MAX = 1920;
/** A category that has left its level is fitted anew so many bins later. */
const REFIT_BINS = 120;
/** With fewer bins that have a request, or a smaller share of them, there is no ensemble. */
const ACTIVE_MIN = 16;
const ACTIVE_SHARE_MIN = 0.05;
/** Bins ahead that errors are learned for; farther ones go by the last of these. */
const HORIZON = 64;

/** Counts of the bins from `from` to before `to`. */
export type ReadBins = (from: number, to: number) => Float64Array;

export type AnchoredOptions = {
  /** Bins before the anchor that are fitted to; more costs time at each fit. */
  fitBins: number;
  learning: Learning;
  /** The newest bins, which may be incomplete, are not learned. */
  settleMinutes: number;
  /** Learned bins that are looked at again; one that has changed means a new fit. */
  lateMinutes: number;
  /** Age in bins at which a category is fitted first. */
  youngest: number;
  calendar: Calendar;
  /** What stands for the past of a young category; others and those without have no ensemble. */
  borrow: Borrow | null;
};

/** Counts of the bins from `begin` to before `birth`; `own` are those from `birth` on. */
export type Borrow = (
  key: string,
  shown: { begin: number; birth: number; own: Float64Array },
) => Float64Array | null;

type Entry = {
  /** Day's anchor that `birth` was looked for at. */
  day: number;
  /** First bin with a request; null when there is none. */
  birth: number | null;
  anchor: number;
  /** First bin that is not learned. */
  end: number;
  ensemble: Ensemble | null;
  /** First bin the ensemble was fitted to. */
  from: number;
  /** Bin before which it is fitted anew, after a drift; null: none. */
  refit: number | null;
  /** The last bins as they were learned. */
  recent: Float64Array;
};

export class AnchoredEnsembles {
  readonly #options: AnchoredOptions;
  #entries = new Map<string, Entry>();
  /** Fits made so far, and drift alarms raised as they happened. */
  fits = 0;
  alarms = 0;

  constructor(options: AnchoredOptions) {
    this.#options = options;
  }

  /** Up to the last settled bin; null for a category that is too young or too sparse. */
  at(key: string, read: ReadBins, open: number): Ensemble | null {
    const end = open - this.#options.settleMinutes;
    const known = this.#entries.get(key);
    const entry = known && this.#goesOn(key, known, read, end) ? known : this.#fit(key, read, end);
    this.#entries.set(key, entry);
    return entry.ensemble;
  }

  /** As `at`, but where a new fit is due the old one answers; undefined before the first. */
  atHand(key: string, read: ReadBins, open: number): Ensemble | null | undefined {
    const known = this.#entries.get(key);
    if (known) this.#goesOn(key, known, read, open - this.#options.settleMinutes);
    return known?.ensemble;
  }

  /** Bins at which the category was seen to leave its level, and experts' shares; null: none. */
  about(key: string): { drifts: number[]; mix: Record<string, number> } | null {
    const entry = this.#entries.get(key);
    if (!entry?.ensemble) return null;
    const { ensemble, from } = entry;
    return { drifts: ensemble.drifts().map((t) => from + t), mix: ensemble.mix() };
  }

  /** Bins from the ensemble's last to the one under way. */
  get lead(): number {
    return this.#options.settleMinutes;
  }

  forget(known: ReadonlySet<string>): void {
    for (const key of this.#entries.keys()) if (!known.has(key)) this.#entries.delete(key);
  }

  /** Takes the entry on to `end`; false when it has to be fitted anew. */
  #goesOn(key: string, entry: Entry, read: ReadBins, end: number): boolean {
    if (end < entry.end || dayOf(key, end) !== entry.day) return false;
    const late = entry.recent.length;
    const counts = read(entry.end - late, end);
    for (let i = 0; i < late; i++) if (counts[i] !== entry.recent[i]) return false;
    if (entry.birth === null) {
      const first = counts.subarray(late).findIndex((count) => count > 0);
      if (first >= 0) entry.birth = entry.end + first;
    }
    if (this.#anchorOf(entry, end) !== entry.anchor) return false;
    this.alarms += this.#follow(key, entry, read, counts.subarray(late), entry.end);
    entry.recent = counts.slice(counts.length - late);
    entry.end = end;
    return true;
  }

  #fit(key: string, read: ReadBins, end: number): Entry {
    const { fitBins, lateMinutes } = this.#options;
    const day = dayOf(key, end);
    const begin = day - fitBins;
    const counts = read(begin, end);
    const first = counts.findIndex((count) => count > 0);
    const birth = first < 0 ? null : begin + first;
    const anchor = this.#anchorOf({ day, birth }, end);
    const past = this.#pastOf(key, birth, anchor, counts, begin);
    const ensemble = past && this.#fitted(past, anchor);
    const from = anchor - (past?.length ?? 0);
    const recent = read(end - lateMinutes, end);
    const entry: Entry = { day, birth, anchor, end, ensemble, from, refit: null, recent };
    this.#follow(key, entry, read, counts.subarray(anchor - begin), anchor);
    return entry;
  }

  /** Takes in bins from `at` on; how often the category left its level in them. */
  #follow(key: string, entry: Entry, read: ReadBins, counts: Float64Array, at: number): number {
    let alarms = 0;
    for (const [i, count] of counts.entries()) {
      if (!entry.ensemble) return alarms;
      if (entry.ensemble.update(count)) {
        entry.ensemble.restart();
        entry.refit = at + i + REFIT_BINS;
        alarms++;
      }
      const next = at + i + 1;
      if (next !== entry.refit) continue;
      entry.refit = null;
      const begin = next - this.#options.fitBins;
      const past = this.#pastOf(key, entry.birth, next, read(begin, next), begin);
      if (!past) continue;
      entry.ensemble = this.#fitted(past, next);
      entry.from = next - past.length;
    }
    return alarms;
  }

  #fitted(past: Float64Array, anchor: number): Ensemble {
    this.fits++;
    const startMs = (anchor - past.length) * DEMAND_BIN_MS;
    const { calendar, learning } = this.#options;
    const whole = { startMs, binMs: DEMAND_BIN_MS, counts: past };
    return Ensemble.fit(whole, HORIZON, calendar, learning);
  }

  /** What is fitted to, up to before the anchor; null when that is not worth it. */
  #pastOf(
    key: string,
    birth: number | null,
    anchor: number,
    counts: Float64Array,
    begin: number,
  ): Float64Array | null {
    const { fitBins, borrow } = this.#options;
    const from = Math.max(birth ?? anchor, anchor - fitBins);
    const past = counts.subarray(from - begin, anchor - begin);
    if (!borrow) return worthwhile(past) ? past : null;
    if (birth === null || anchor <= birth || anchor - birth > YOUNG_MAX) return null;
    const lent = borrow(key, { begin: anchor - fitBins, birth, own: past });
    if (!lent) return null;
    const whole = new Float64Array(lent.length + past.length);
    whole.set(lent);
    whole.set(past, lent.length);
    return worthwhile(whole) ? whole : null;
  }

  #anchorOf({ day, birth }: Pick<Entry, "day" | "birth">, end: number): number {
    if (birth === null) return day;
    let anchor = day;
    for (let age = this.#options.youngest; age <= YOUNG_MAX; age *= 2)
      if (birth + age <= end) anchor = Math.max(anchor, birth + age);
    return anchor;
  }
}

function worthwhile(past: Float64Array): boolean {
  let active = 0;
  for (const count of past) if (count > 0) active++;
  return active >= ACTIVE_MIN && active >= ACTIVE_SHARE_MIN * past.length;
}

/** Where the day of a category began; each has its own hour, so that fits are spread. */
function dayOf(key: string, end: number): number {
  let hash = 0;
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) >>> 0;
  const turn = hash % DAY;
  return Math.floor((end - turn) / DAY) * DAY + turn;
}

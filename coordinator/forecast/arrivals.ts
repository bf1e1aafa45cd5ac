/**
 * When will each category's next request come? Keeps the tracks of all categories up to date with
 * the history and turns the hazard model into curves.
 */
import { categoryKey } from "../../shared/domain.ts";
import { HazardModel, type HazardState } from "./hazard.ts";
import { taughtHazard } from "./hazard-prior.ts";
import type { DemandSource } from "./source.ts";
import { Track, type TrackState } from "./track.ts";

export const CURVE_MINUTES = 120;
/** Minutes fetched from the history at a time. */
const BLOCK_MINUTES = 120;

/** When the next request of a category will come, given that none came until now. */
export type ArrivalCurve = {
  /** P(first arrival within `ms` from the time asked for), 0..1, rising in `ms`. */
  probabilityWithin(ms: number): number;
  /** For each of the next 120 minutes, the one under way first: P(arrival | idle until it). */
  hazardPerMinute: readonly number[];
  /** Start of the last minute with a request; null when there was none. */
  lastArrivalMs: number | null;
};

export type ArrivalOptions = {
  /**
   * Minutes that may still get late reports: predictions see them, learning waits. More means
   * slower learning, fewer means that late arrivals are learned as idle minutes.
   */
  settleMinutes: number;
  /** Settled minutes that are looked at again for later reports; more costs time per category. */
  lateMinutes: number;
  /**
   * At the first update the newest minutes, so many over all categories, teach the model; those
   * before fill the tracks only. A million takes about a second.
   */
  learnStepsMax: number;
  /** Older history is not read. */
  rememberMinutesMax: number;
};

export type ArrivalState = {
  next: number | null;
  model: HazardState;
  tracks: { workload: string; category: string; track: TrackState }[];
};

type Lane = { key: string; workload: string; category: string; counts: Float64Array };

export class Arrivals {
  readonly #options: ArrivalOptions;
  readonly #binMs: number;
  readonly #model = new HazardModel();
  #tracks = new Map<string, Track>();
  #names = new Map<string, { workload: string; category: string }>();
  /** Minutes before this one have been learned. */
  #next: number | null = null;

  constructor(binMs: number, options: ArrivalOptions) {
    this.#binMs = binMs;
    this.#options = options;
    this.#model.restore(taughtHazard());
  }

  /** Learns what has settled by `nowMs` and takes in what has not; a part of it at each step. */
  *update(source: DemandSource, nowMs: number): Generator<void> {
    const open = Math.floor(nowMs / this.#binMs);
    const end = open - this.#options.settleMinutes;
    const lanes = source
      .keys()
      .map((of) => ({ ...of, key: categoryKey(of.workload, of.category) }))
      .filter((of) => this.#tracks.has(of.key) || this.#lively(source, of, end))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    this.#forget(new Set(lanes.map((lane) => lane.key)));
    for (const { key, workload, category } of lanes) this.#names.set(key, { workload, category });
    const known = this.#next;
    if (known !== null) this.#catchUp(source, lanes, known);
    const { start, learnFrom } =
      known === null ? this.#firstStart(source, lanes, end) : { start: known, learnFrom: known };
    for (let from = start; from < end; from += BLOCK_MINUTES) {
      const to = Math.min(end, from + BLOCK_MINUTES);
      const block = lanes.map((lane) => ({ ...lane, counts: this.#read(source, lane, from, to) }));
      this.#learn(block, from, to, learnFrom);
      yield;
    }
    if (lanes.length > 0) this.#next = Math.max(this.#next ?? end, end);
    for (const lane of lanes) this.#preview(source, lane, open);
  }

  /** Of the minute under way alone: the first of its curve. */
  hazard(workload: string, category: string, nowMs: number): number {
    const track = this.#tracks.get(categoryKey(workload, category));
    const open = Math.floor(nowMs / this.#binMs);
    return track ? this.#hazard(track, open) : this.#model.newcomerHazard();
  }

  curve(workload: string, category: string, nowMs: number): ArrivalCurve {
    const track = this.#tracks.get(categoryKey(workload, category));
    const open = Math.floor(nowMs / this.#binMs);
    const hazards = new Array<number>(CURVE_MINUTES).fill(0);
    for (let i = 0; i < CURVE_MINUTES; i++) {
      hazards[i] = track ? this.#hazard(track, open + i) : this.#model.newcomerHazard();
    }
    const elapsed = nowMs / this.#binMs - open;
    return {
      probabilityWithin: (ms) => within(hazards, elapsed, ms / this.#binMs),
      hazardPerMinute: hazards,
      lastArrivalMs: track ? track.current.last * this.#binMs : null,
    };
  }

  state(): ArrivalState {
    const tracks = [...this.#tracks].map(([key, track]) => {
      const { workload = "", category = "" } = this.#names.get(key) ?? {};
      return { workload, category, track: track.state() };
    });
    return { next: this.#next, model: this.#model.state(), tracks };
  }

  restore(state: ArrivalState): void {
    this.#model.restore(state.model);
    this.#tracks = new Map();
    this.#names = new Map();
    this.#next = state.next;
    for (const { workload, category, track } of state.tracks) {
      const key = categoryKey(workload, category);
      this.#tracks.set(key, Track.restore(track));
      this.#names.set(key, { workload, category });
    }
  }

  /** In a minute that had its request already: what was expected of it. */
  #hazard(track: Track, minute: number): number {
    return this.#model.hazard(track, Math.max(minute, track.current.minute + 1));
  }

  /** Whether a category had a request in the time that is looked at. */
  #lively(source: DemandSource, of: Omit<Lane, "counts" | "key">, end: number): boolean {
    const lastMs = source.lastArrivalMs(of.workload, of.category) ?? Number.NEGATIVE_INFINITY;
    return lastMs >= (end - this.#options.rememberMinutesMax) * this.#binMs;
  }

  /** A category that comes with a past (a later import, a late first report) learns it alone. */
  #catchUp(source: DemandSource, lanes: Omit<Lane, "counts">[], end: number): void {
    for (const lane of lanes) {
      if (this.#tracks.has(lane.key)) continue;
      const from = end - this.#options.rememberMinutesMax;
      const counts = this.#read(source, lane, from, end);
      this.#learn([{ ...lane, counts }], from, end, from);
    }
  }

  /** Where a history that was never looked at begins, and from where on it is learned. */
  #firstStart(source: DemandSource, lanes: Omit<Lane, "counts">[], end: number) {
    let first = end;
    let lively = 0;
    for (const lane of lanes) {
      const { startMs, counts } = source.series(lane.workload, lane.category, null);
      const begins = Math.floor(startMs / this.#binMs);
      if (counts.length === 0 || begins >= end) continue;
      first = Math.min(first, begins);
      lively++;
    }
    const { rememberMinutesMax, learnStepsMax } = this.#options;
    const start = Math.max(first, end - rememberMinutesMax);
    return { start, learnFrom: end - Math.floor(learnStepsMax / Math.max(1, lively)) };
  }

  #read(source: DemandSource, lane: Omit<Lane, "counts">, from: number, to: number): Float64Array {
    const range = { fromMs: from * this.#binMs, toMs: to * this.#binMs };
    return source.series(lane.workload, lane.category, null, range).counts;
  }

  /** Minute by minute over all categories, so that none learns from another's future. */
  #learn(lanes: Lane[], from: number, to: number, learnFrom: number): void {
    const tracks = lanes.map((lane) => this.#tracks.get(lane.key));
    for (let minute = from; minute < to; minute++) {
      for (let i = 0; i < lanes.length; i++) {
        const active = (lanes[i]?.counts[minute - from] ?? 0) > 0;
        const track = tracks[i];
        if (track) {
          if (track.settled.minute >= minute) continue;
          if (minute >= learnFrom) this.#model.learn(track, active);
          else track.settle(active);
        } else if (active) {
          const born = new Track(minute);
          tracks[i] = born;
          this.#tracks.set(lanes[i]?.key ?? "", born);
        }
      }
    }
  }

  /** Takes in the minutes that are not settled, and what settled ones turned out to have had. */
  #preview(source: DemandSource, lane: Omit<Lane, "counts">, open: number): void {
    const known = this.#tracks.get(lane.key);
    const settled = known?.settled.minute ?? open - this.#options.settleMinutes - 1;
    const from = settled + 1 - this.#options.lateMinutes;
    const counts = this.#read(source, lane, from, open + 1);
    const activity = Array.from(counts, (count) => count > 0);
    const late = activity.splice(0, this.#options.lateMinutes);
    if (!known) {
      const first = activity.indexOf(true);
      if (first < 0) return;
      const track = new Track(settled + 1 + first);
      this.#tracks.set(lane.key, track);
      activity.splice(0, first + 1);
      track.preview(withoutOpen(activity));
      return;
    }
    for (const [i, active] of late.entries()) {
      if (active && known.activity(from + i, 1) === 0) known.amend(from + i);
    }
    known.preview(withoutOpen(activity));
  }

  #forget(known: ReadonlySet<string>): void {
    for (const key of this.#tracks.keys()) {
      if (known.has(key)) continue;
      this.#tracks.delete(key);
      this.#names.delete(key);
    }
  }
}

/** The minute under way is told only once it has had a request. */
function withoutOpen(activity: boolean[]): boolean[] {
  if (activity.at(-1) === false) activity.pop();
  return activity;
}

/** P(arrival within `minutes`) from a point `elapsed` (0..1) into the first minute. */
function within(hazards: readonly number[], elapsed: number, minutes: number): number {
  let left = Math.max(0, minutes);
  let survival = 1;
  for (let i = 0; i < hazards.length && left > 0; i++) {
    const part = Math.min(left, i === 0 ? 1 - elapsed : 1);
    survival *= (1 - (hazards[i] ?? 0)) ** part;
    left -= part;
  }
  if (left > 0) {
    const tail = hazards.slice(-CURVE_MINUTES / 2);
    survival *= (1 - tail.reduce((sum, hazard) => sum + hazard, 0) / tail.length) ** left;
  }
  return 1 - survival;
}

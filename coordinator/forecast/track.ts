/**
 * What one category's arrivals looked like, minute by minute, in a fixed number of bytes: which
 * recent minutes had one, how long the gaps were, in which minutes of the clock they fall.
 *
 * `Recency` is the small part that must be up to date to the last minute; the rest is learned
 * once a minute is settled (late reports have come in).
 */

/** Minutes whose activity is remembered one by one: eleven days. */
const RING_MINUTES = 1 << 14;
const RING_MASK = RING_MINUTES / 8 - 1;
/** Gaps of that many minutes and more are one. */
export const GAP_MAX = 240;
/** A gap counts half after that many newer ones. */
const GAP_HALF_LIFE = 20;
/** Lengths of clock cycles with a profile: what timers are set to. */
export const CYCLES = [5, 10, 15, 20, 30, 60] as const;
const CYCLE_SLOTS = CYCLES.reduce((sum, cycle) => sum + cycle, 0);
const CYCLE_OFFSETS = CYCLES.map((_, i) => CYCLES.slice(0, i).reduce((sum, c) => sum + c, 0));
/** How much of a cycle slot or an hour of the day is kept at each visit. */
const CYCLE_KEEP = 0.9;
const DAY_KEEP = 0.8;
/** Rates forget with these time constants, minutes: now, lately, in general. */
export const RATE_MINUTES = [15, 240, 1440] as const;

/** Room for what the mixer of the hazard learned of one category, by input. */
export const OWN_WEIGHTS = 24;

const GAP_KEEP = 0.5 ** (1 / GAP_HALF_LIFE);

export type Recency = {
  /** Minute that was last taken in. */
  minute: number;
  /** Last minute with an arrival. */
  last: number;
  /** The last gap between active minutes and the one before it; 0 = none yet. */
  gap1: number;
  gap2: number;
  arrivals: number;
  hits: number[];
  trials: number[];
};

/** Takes in one more minute. */
export function advance(recency: Recency, active: boolean): void {
  recency.minute++;
  for (const [i, minutes] of RATE_MINUTES.entries()) {
    const keep = 1 - 1 / minutes;
    recency.hits[i] = (recency.hits[i] ?? 0) * keep + (active ? 1 : 0);
    recency.trials[i] = (recency.trials[i] ?? 0) * keep + 1;
  }
  if (!active) return;
  recency.gap2 = recency.gap1;
  recency.gap1 = recency.minute - recency.last;
  recency.last = recency.minute;
  recency.arrivals++;
}

export type TrackState = {
  recency: Recency;
  born: number;
  bits: string;
  gaps: string;
  cycles: string;
  hours: string;
  /** Absent in states of earlier versions. */
  own?: string;
};

export class Track {
  /** Up to the last settled minute. */
  readonly settled: Recency;
  /** With the minutes that are not settled yet: what predictions start from. */
  current: Recency;
  readonly born: number;
  /** Owned by the hazard model: what it adds to the shared weights. */
  readonly own = new Float32Array(OWN_WEIGHTS);
  readonly #bits = new Uint8Array(RING_MINUTES / 8);
  /** Discounted count of gaps by length, then of gaps at least that long. */
  readonly #gaps = new Float32Array(GAP_MAX + 2);
  readonly #atLeast = new Float32Array(GAP_MAX + 3);
  /** Hits then trials per slot of each cycle. */
  readonly #cycles = new Float32Array(2 * CYCLE_SLOTS);
  /** Hits then trials per hour of the day (UTC), finished days only, and the hour under way. */
  readonly #hours = new Float32Array(24 * 2 + 2);

  /** A category is born with its first arrival. */
  constructor(firstArrival: number) {
    this.born = firstArrival;
    this.settled = {
      minute: firstArrival,
      last: firstArrival,
      gap1: 0,
      gap2: 0,
      arrivals: 1,
      hits: RATE_MINUTES.map(() => 0),
      trials: RATE_MINUTES.map(() => 0),
    };
    this.current = this.settled;
    this.#setBit(firstArrival, true);
    this.#learnCycles(firstArrival, true);
  }

  /** Learns the minute after the last settled one. */
  settle(active: boolean): void {
    const { last } = this.settled;
    advance(this.settled, active);
    const { minute } = this.settled;
    this.#setBit(minute, active);
    if (active) this.#learnGap(minute - last);
    this.#learnCycles(minute, active);
    this.#learnHour(minute, active);
    this.current = this.settled;
  }

  /** A settled minute that was taken for idle had an arrival after all. */
  amend(minute: number): void {
    if (minute <= this.born || minute > this.settled.minute) return;
    this.#setBit(minute, true);
    const { settled } = this;
    settled.arrivals++;
    for (const [i, minutes] of RATE_MINUTES.entries()) {
      const faded = (1 - 1 / minutes) ** (settled.minute - minute);
      settled.hits[i] = (settled.hits[i] ?? 0) + faded;
    }
    for (let cycle = 0; cycle < CYCLES.length; cycle++) {
      const slot = this.cycleSlot(cycle, minute);
      this.#cycles[slot] = Math.min(this.cycleTrials(slot), this.cycleHits(slot) + 1);
    }
    if (minute <= settled.last) return;
    this.#learnGap(minute - settled.last);
    settled.gap2 = settled.gap1;
    settled.gap1 = minute - settled.last;
    settled.last = minute;
  }

  /** Predictions start as if these minutes after the settled ones had been as told. */
  preview(activity: readonly boolean[]): void {
    for (let minute = this.current.minute; minute > this.settled.minute; minute--) {
      this.#setBit(minute, false);
    }
    this.current = activity.length === 0 ? this.settled : copy(this.settled);
    for (const active of activity) {
      advance(this.current, active);
      this.#setBit(this.current.minute, active);
    }
  }

  /** One bit per minute from `from` on, at most 8; minutes after `current` count as idle. */
  activity(from: number, minutes: number): number {
    const known = Math.min(minutes, this.current.minute - from + 1);
    if (known <= 0 || from + minutes <= this.born) return 0;
    const at = from >> 3;
    const low = this.#bits[at & RING_MASK] ?? 0;
    const high = this.#bits[(at + 1) & RING_MASK] ?? 0;
    return ((low | (high << 8)) >> (from & 7)) & ((1 << known) - 1);
  }

  /** Discounted number of gaps from `from` to `to` minutes long, both included. */
  gapsBetween(from: number, to: number): number {
    const low = this.#atLeast[Math.min(from, GAP_MAX + 1)] ?? 0;
    return Math.max(0, low - (this.#atLeast[Math.min(to, GAP_MAX) + 1] ?? 0));
  }

  gapsAtLeast(minutes: number): number {
    return this.#atLeast[Math.min(Math.max(minutes, 0), GAP_MAX + 1)] ?? 0;
  }

  /** Where the cycle's slot of a minute lies, for `cycleHits` and `cycleTrials`. */
  cycleSlot(cycle: number, minute: number): number {
    return (CYCLE_OFFSETS[cycle] ?? 0) + (minute % (CYCLES[cycle] ?? 1));
  }

  cycleHits(slot: number): number {
    return this.#cycles[slot] ?? 0;
  }

  cycleTrials(slot: number): number {
    return this.#cycles[CYCLE_SLOTS + slot] ?? 0;
  }

  /** Active minutes, and minutes, in that hour of earlier days. */
  hourHits(hour: number): number {
    return this.#hours[hour] ?? 0;
  }

  hourTrials(hour: number): number {
    return this.#hours[24 + hour] ?? 0;
  }

  state(): TrackState {
    return {
      recency: copy(this.settled),
      born: this.born,
      bits: encode(this.#bits),
      gaps: encode(this.#gaps),
      cycles: encode(this.#cycles),
      hours: encode(this.#hours),
      own: encode(this.own),
    };
  }

  static restore(state: TrackState): Track {
    const track = new Track(state.born);
    Object.assign(track.settled, copy(state.recency));
    decode(state.bits, track.#bits);
    decode(state.gaps, track.#gaps);
    decode(state.cycles, track.#cycles);
    decode(state.hours, track.#hours);
    if (state.own !== undefined) decode(state.own, track.own);
    track.#sumGaps();
    return track;
  }

  #setBit(minute: number, active: boolean): void {
    const at = (minute >> 3) & RING_MASK;
    const mask = 1 << (minute & 7);
    this.#bits[at] = active ? (this.#bits[at] ?? 0) | mask : (this.#bits[at] ?? 0) & ~mask;
  }

  #learnGap(gap: number): void {
    for (let i = 0; i < this.#gaps.length; i++) this.#gaps[i] = (this.#gaps[i] ?? 0) * GAP_KEEP;
    const at = Math.min(gap, GAP_MAX + 1);
    this.#gaps[at] = (this.#gaps[at] ?? 0) + 1;
    this.#sumGaps();
  }

  #sumGaps(): void {
    let sum = 0;
    for (let i = GAP_MAX + 1; i >= 0; i--) {
      sum += this.#gaps[i] ?? 0;
      this.#atLeast[i] = sum;
    }
  }

  #learnCycles(minute: number, active: boolean): void {
    let offset = 0;
    for (const cycle of CYCLES) {
      const slot = offset + (minute % cycle);
      this.#cycles[slot] = this.cycleHits(slot) * CYCLE_KEEP + (active ? 1 : 0);
      this.#cycles[CYCLE_SLOTS + slot] = this.cycleTrials(slot) * CYCLE_KEEP + 1;
      offset += cycle;
    }
  }

  #learnHour(minute: number, active: boolean): void {
    const under = 48;
    this.#hours[under] = (this.#hours[under] ?? 0) + (active ? 1 : 0);
    this.#hours[under + 1] = (this.#hours[under + 1] ?? 0) + 1;
    if (minute % 60 !== 59) return;
    const hour = Math.floor(minute / 60) % 24;
    this.#hours[hour] = this.hourHits(hour) * DAY_KEEP + (this.#hours[under] ?? 0);
    this.#hours[24 + hour] = this.hourTrials(hour) * DAY_KEEP + (this.#hours[under + 1] ?? 0);
    this.#hours.fill(0, under);
  }
}

function copy(recency: Recency): Recency {
  return { ...recency, hits: [...recency.hits], trials: [...recency.trials] };
}

function encode(values: Uint8Array | Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
}

function decode(text: string, into: Uint8Array | Float32Array): void {
  const bytes = Buffer.from(text, "base64");
  new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(
    bytes.subarray(0, into.byteLength),
  );
}

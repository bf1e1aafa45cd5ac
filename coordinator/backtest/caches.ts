/**
 * Policies that keep what they loaded until its memory is needed: least recently used, and
 * greedy-dual as in FaasCache (Fuerst & Sharma, ASPLOS 2021), whose priority of a category is
 *
 *   clock + frequency × cost of its start ÷ its memory,
 *
 * the clock being the priority of what was evicted last, the frequency its requests since it was
 * loaded. Both need a size; what is in use is never evicted, so that a busy minute may exceed it.
 */
import { type Played, type Policy, playAll, type Series } from "./play.ts";

type Cached = { i: number; priority: number };

abstract class Cache implements Policy {
  readonly name: string;
  readonly #capacityGb: number;
  readonly #series: readonly Series[];
  readonly #present: Uint8Array;
  readonly #used: Uint8Array;
  #gb = 0;

  constructor(name: string, series: readonly Series[], capacityGb: number) {
    this.name = name;
    this.#series = series;
    this.#capacityGb = capacityGb;
    this.#present = new Uint8Array(series.length);
    this.#used = new Uint8Array(series.length);
  }

  /** Higher is kept longer. */
  protected abstract priority(i: number): number;
  protected abstract touched(i: number, minute: number, requests: number): void;
  protected abstract evicted(i: number, priority: number): void;

  wants(i: number): boolean {
    return this.#present[i] === 1;
  }

  observe(i: number, minute: number, requests: number): void {
    this.#used[i] = requests > 0 ? 1 : 0;
    if (requests === 0) return;
    if (this.#present[i] === 0) this.#gb += this.#series[i]?.memoryGb ?? 0;
    this.#present[i] = 1;
    this.touched(i, minute, requests);
  }

  endMinute(): void {
    if (this.#gb <= this.#capacityGb) return;
    const idle: Cached[] = [];
    for (let i = 0; i < this.#present.length; i++)
      if (this.#present[i] === 1 && this.#used[i] === 0)
        idle.push({ i, priority: this.priority(i) });
    idle.sort((a, b) => a.priority - b.priority || a.i - b.i);
    for (const { i, priority } of idle) {
      if (this.#gb <= this.#capacityGb) return;
      this.#present[i] = 0;
      this.#gb -= this.#series[i]?.memoryGb ?? 0;
      this.evicted(i, priority);
    }
  }
}

export class Lru extends Cache {
  readonly #last: Float64Array;

  constructor(series: readonly Series[], capacityGb: number) {
    super("lru", series, capacityGb);
    this.#last = new Float64Array(series.length);
  }

  protected override priority(i: number): number {
    return this.#last[i] ?? 0;
  }

  protected override touched(i: number, minute: number): void {
    this.#last[i] = minute;
  }

  protected override evicted(): void {}
}

export class GreedyDual extends Cache {
  readonly #series: readonly Series[];
  readonly #frequency: Float64Array;
  /** The clock as each was used last. */
  readonly #base: Float64Array;
  #clock = 0;

  constructor(series: readonly Series[], capacityGb: number) {
    super("greedy-dual", series, capacityGb);
    this.#series = series;
    this.#frequency = new Float64Array(series.length);
    this.#base = new Float64Array(series.length);
  }

  protected override priority(i: number): number {
    const one = this.#series[i];
    if (!one) return 0;
    const value = ((this.#frequency[i] ?? 0) * one.startSeconds) / one.memoryGb;
    return (this.#base[i] ?? 0) + value;
  }

  protected override touched(i: number, _minute: number, requests: number): void {
    this.#frequency[i] = (this.#frequency[i] ?? 0) + requests;
    this.#base[i] = this.#clock;
  }

  protected override evicted(i: number, priority: number): void {
    this.#clock = priority;
    this.#frequency[i] = 0;
  }
}

export type MakeCache = (series: readonly Series[], capacityGb: number) => Policy;

const ROUNDS = 14;

/** The size at which a cache takes that much memory-time; the memory of all when none does. */
export function capacityFor(
  make: MakeCache,
  series: readonly Series[],
  loadedGbMinutes: number,
  warmUpMinutes: number,
): number {
  let low = 0;
  let high = series.reduce((sum, { memoryGb }) => sum + memoryGb, 0);
  for (let round = 0; round < ROUNDS; round++) {
    const capacityGb = (low + high) / 2;
    const [played] = playAll(series, [make(series, capacityGb)], { warmUpMinutes });
    if (memoryTime(played) > loadedGbMinutes) high = capacityGb;
    else low = capacityGb;
  }
  return low;
}

function memoryTime(played: Played | undefined): number {
  return played?.total.loadedGbMinutes ?? 0;
}

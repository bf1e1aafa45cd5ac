/**
 * The units of a version that may be asked for, in order of how many neighbours have them; those
 * alike in random order. One array in buckets, so that every change costs a few swaps.
 * Source of the structure: the piece picker of libtorrent (Norberg), described in its manual.
 */
import type { Random } from "../../../shared/runtime/random.ts";

export class Rarity {
  readonly #count: Uint16Array;
  readonly #order: Uint32Array;
  /** Index in `#order` by unit; -1 while it may not be asked for. */
  readonly #at: Int32Array;
  /** Where the units begin that so many have; one more entry for the end. */
  readonly #start: number[] = [0, 0];
  #chance: number;

  constructor(units: number, random: Random) {
    this.#count = new Uint16Array(units);
    this.#order = new Uint32Array(units);
    this.#at = new Int32Array(units).fill(-1);
    this.#chance = random.int(2 ** 31) | 1;
  }

  /** How many units may be asked for. */
  get size(): number {
    return this.#start.at(-1) ?? 0;
  }

  /** Of these so many nobody near has: they come first. */
  get orphans(): number {
    return this.#start[1] ?? 0;
  }

  /** The i-th rarest. */
  at(i: number): number {
    return this.#order[i] ?? 0;
  }

  count(unit: number): number {
    return this.#count[unit] ?? 0;
  }

  has(unit: number): boolean {
    return (this.#at[unit] ?? -1) >= 0;
  }

  /** One more has it. */
  raise(unit: number): void {
    const count = this.count(unit);
    this.#count[unit] = count + 1;
    if (!this.has(unit)) return;
    this.#reach(count + 1);
    const last = (this.#start[count + 1] ?? 0) - 1;
    this.#swap(this.#at[unit] ?? 0, last);
    this.#start[count + 1] = last;
    this.#mix(unit, count + 1);
  }

  /** One fewer has it. */
  lower(unit: number): void {
    const count = this.count(unit);
    if (count === 0) return;
    this.#count[unit] = count - 1;
    if (!this.has(unit)) return;
    const first = this.#start[count] ?? 0;
    this.#swap(this.#at[unit] ?? 0, first);
    this.#start[count] = first + 1;
    this.#mix(unit, count - 1);
  }

  /** It may be asked for from now on. */
  add(unit: number): void {
    if (this.has(unit)) return;
    const count = this.count(unit);
    this.#reach(count);
    const ends = this.#start.length - 1;
    let hole = this.size;
    this.#start[ends] = hole + 1;
    for (let bucket = ends - 1; bucket > count; bucket--) {
      const first = this.#start[bucket] ?? 0;
      if (first !== hole) this.#put(this.at(first), hole);
      hole = first;
      this.#start[bucket] = first + 1;
    }
    this.#put(unit, hole);
    this.#mix(unit, count);
  }

  /** It is held or under way. */
  remove(unit: number): void {
    let hole = this.#at[unit] ?? -1;
    if (hole < 0) return;
    for (let bucket = this.count(unit); bucket < this.#start.length - 1; bucket++) {
      const last = (this.#start[bucket + 1] ?? 0) - 1;
      if (last !== hole) this.#put(this.at(last), hole);
      hole = last;
      this.#start[bucket + 1] = last;
    }
    this.#at[unit] = -1;
  }

  #reach(count: number): void {
    while (this.#start.length < count + 2) this.#start.push(this.size);
  }

  #put(unit: number, index: number): void {
    this.#order[index] = unit;
    this.#at[unit] = index;
  }

  #swap(a: number, b: number): void {
    const unit = this.at(a);
    this.#put(this.at(b), a);
    this.#put(unit, b);
  }

  /** To a random place among those alike. */
  #mix(unit: number, bucket: number): void {
    const first = this.#start[bucket] ?? 0;
    const alike = (this.#start[bucket + 1] ?? 0) - first;
    if (alike < 2) return;
    this.#chance ^= this.#chance << 13;
    this.#chance ^= this.#chance >>> 17;
    this.#chance ^= this.#chance << 5;
    this.#swap(this.#at[unit] ?? 0, first + ((this.#chance >>> 0) % alike));
  }
}

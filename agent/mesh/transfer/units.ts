/**
 * Runs of adjacent chunks of one version: what is asked for, sent and told in one go. Chunks stay
 * small so that versions share them; a request per chunk would cost more than its bytes. The cut
 * follows from the manifest alone, so that a unit's number means the same on every host.
 */
import { Bitmap } from "./bitmap.ts";

export const UNIT_BYTES_MIN = 1 << 20;
export const UNIT_BYTES_MAX = 4 << 20;
/** About so many units a version, so that telling who has which stays cheap. */
const UNITS_AIM = 2_048;
/** A small version has so many, if need be of single chunks, so that hosts have parts to swap. */
const UNITS_FEW = 32;
const SMALL_UNIT_BYTES_MIN = 256 << 10;
const UNIT_CHUNKS_MAX = 64;

export type ChunkOf = { hash: string; bytes: number };

const clamp = (least: number, wish: number, most: number) => Math.min(most, Math.max(least, wish));

const known = new WeakMap<readonly ChunkOf[], Units>();

export class Units {
  readonly chunks: readonly ChunkOf[];
  readonly count: number;
  readonly totalBytes: number;
  /** First position by unit, and the end. */
  readonly #first: Uint32Array;
  readonly #bytes: Float64Array;
  readonly #unitOf: Uint32Array;
  #positions: Map<string, number[]> | null = null;

  private constructor(chunks: readonly ChunkOf[]) {
    this.chunks = chunks;
    this.totalBytes = chunks.reduce((sum, c) => sum + c.bytes, 0);
    const least = clamp(SMALL_UNIT_BYTES_MIN, this.totalBytes / UNITS_FEW, UNIT_BYTES_MIN);
    const aim = clamp(least, this.totalBytes / UNITS_AIM, UNIT_BYTES_MAX);
    const first: number[] = [];
    const bytes: number[] = [];
    this.#unitOf = new Uint32Array(chunks.length);
    let inUnit = 0;
    for (const [position, chunk] of chunks.entries()) {
      const sum = (bytes.at(-1) ?? aim) + chunk.bytes;
      if (first.length === 0 || sum > aim || inUnit === UNIT_CHUNKS_MAX) {
        first.push(position);
        bytes.push(0);
        inUnit = 0;
      }
      const unit = first.length - 1;
      bytes[unit] = (bytes[unit] ?? 0) + chunk.bytes;
      this.#unitOf[position] = unit;
      inUnit++;
    }
    this.count = first.length;
    this.#first = Uint32Array.from([...first, chunks.length]);
    this.#bytes = Float64Array.from(bytes);
  }

  /** The units of a version; made once per list of chunks. */
  static of(chunks: readonly ChunkOf[]): Units {
    let units = known.get(chunks);
    if (!units) {
      units = new Units(chunks);
      known.set(chunks, units);
    }
    return units;
  }

  first(unit: number): number {
    return this.#first[unit] ?? this.chunks.length;
  }

  /** One past the unit's last position. */
  end(unit: number): number {
    return this.#first[unit + 1] ?? this.chunks.length;
  }

  bytes(unit: number): number {
    return this.#bytes[unit] ?? 0;
  }

  unitOf(position: number): number {
    return this.#unitOf[position] ?? 0;
  }

  /** Where a chunk stands; none when it is not of this version. */
  positionsOf(hash: string): readonly number[] {
    if (!this.#positions) {
      this.#positions = new Map();
      for (const [position, chunk] of this.chunks.entries()) {
        const at = this.#positions.get(chunk.hash);
        if (at) at.push(position);
        else this.#positions.set(chunk.hash, [position]);
      }
    }
    return this.#positions.get(hash) ?? [];
  }

  /** The units of which every chunk is held. */
  whole(have: Bitmap): Bitmap {
    if (have.complete && have.size === this.chunks.length) return Bitmap.full(this.count);
    const whole = new Bitmap(this.count);
    for (let unit = 0; unit < this.count; unit++) {
      let position = this.first(unit);
      const end = this.end(unit);
      while (position < end && have.has(position)) position++;
      if (position === end) whole.set(unit);
    }
    return whole;
  }
}

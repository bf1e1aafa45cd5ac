/** Counts by bin number, kept in chunks so that silence costs nothing and small counts little. */
const CHUNK_BINS = 256;
const SMALL_MAX = 255;

type Chunk = Uint8Array | Float32Array;

export class BinCounts {
  readonly #chunks = new Map<number, Chunk>();
  /** First and last bin that was ever added to and is still kept; null when empty. */
  #first: number | null = null;
  #last: number | null = null;

  get first(): number | null {
    return this.#first;
  }

  get last(): number | null {
    return this.#last;
  }

  get bytes(): number {
    return this.#chunks.values().reduce((sum, chunk) => sum + chunk.byteLength, 0);
  }

  add(bin: number, count: number): void {
    const at = Math.floor(bin / CHUNK_BINS);
    const chunk = this.#chunks.get(at) ?? new Uint8Array(CHUNK_BINS);
    const i = bin - at * CHUNK_BINS;
    this.#set(at, chunk, i, (chunk[i] ?? 0) + count);
    this.#first = Math.min(this.#first ?? bin, bin);
    this.#last = Math.max(this.#last ?? bin, bin);
  }

  /** Takes from what was added; never below zero. */
  remove(bin: number, count: number): void {
    const at = Math.floor(bin / CHUNK_BINS);
    const chunk = this.#chunks.get(at);
    const i = bin - at * CHUNK_BINS;
    if (chunk) this.#set(at, chunk, i, Math.max(0, (chunk[i] ?? 0) - count));
  }

  #set(at: number, chunk: Chunk, i: number, count: number): void {
    const small = count <= SMALL_MAX && Number.isInteger(count);
    const fitting = small || chunk instanceof Float32Array ? chunk : Float32Array.from(chunk);
    fitting[i] = count;
    this.#chunks.set(at, fitting);
  }

  /** The last bin that is not zero; null when all are. */
  lastArrival(): number | null {
    for (const at of [...this.#chunks.keys()].sort((a, b) => b - a)) {
      const i = this.#chunks.get(at)?.findLastIndex((count) => count > 0) ?? -1;
      if (i >= 0) return at * CHUNK_BINS + i;
    }
    return null;
  }

  /** Counts of the bins in `[from, to)`. */
  read(from: number, to: number): Float64Array {
    const counts = new Float64Array(Math.max(0, to - from));
    for (let at = Math.floor(from / CHUNK_BINS); at * CHUNK_BINS < to; at++) {
      const chunk = this.#chunks.get(at);
      if (!chunk) continue;
      const low = Math.max(from, at * CHUNK_BINS);
      const high = Math.min(to, (at + 1) * CHUNK_BINS);
      counts.set(chunk.subarray(low - at * CHUNK_BINS, high - at * CHUNK_BINS), low - from);
    }
    return counts;
  }

  /** Forgets the bins before `bin`, in whole chunks. */
  prune(bin: number): void {
    if (this.#first === null || this.#first >= bin) return;
    for (const at of this.#chunks.keys()) {
      if ((at + 1) * CHUNK_BINS <= bin) this.#chunks.delete(at);
    }
    const oldest = this.#chunks.size === 0 ? null : Math.min(...this.#chunks.keys()) * CHUNK_BINS;
    this.#first = oldest === null ? null : Math.max(this.#first, oldest);
    if (oldest === null) this.#last = null;
  }
}

/** What is under way: by want, by host and by chunk, and how much of it is good. */
import type { Source } from "./sources.ts";
import { type Flight, ORIGIN, type WantState } from "./wants.ts";

/** An answer within this lets more be under way at once; one much later less. */
const AIM_MS = 200;
const WINDOW_BYTES_START = 16 << 20;
const WINDOW_UNITS_MIN = 8;

export class Flights {
  readonly #source: (host: string) => Source | undefined;
  readonly #all = new Set<Flight>();
  /** How often a chunk is under way, so that no two wants ask for the same. */
  readonly #chunks = new Map<string, number>();
  #largestUnit = 1 << 20;
  #windowBytes = WINDOW_BYTES_START;
  #typicalMs: number | null = null;
  bytes = 0;
  origin = 0;

  constructor(source: (host: string) => Source | undefined) {
    this.#source = source;
  }

  get count(): number {
    return this.#all.size;
  }

  all(): Iterable<Flight> {
    return this.#all;
  }

  get(from: string, id: string, unit: number): Flight | undefined {
    for (const flight of this.#source(from)?.flights ?? this.#all)
      if (flight.unit === unit && flight.from === from && flight.want.id === id) return flight;
    return undefined;
  }

  /** So much may be under way: enough to keep the link busy, no more, so that choices stay late. */
  get windowBytes(): number {
    return Math.max(this.#windowBytes, WINDOW_UNITS_MIN * this.#largestUnit);
  }

  /** How long a silent peer is waited for when nothing else is left to do. */
  patienceMs(mostMs: number): number {
    return this.#typicalMs === null ? mostMs : Math.min(mostMs, 250 + 6 * this.#typicalMs);
  }

  /**
   * Books a request for what is missing of a unit, up to `most` bytes but one chunk at least. Null
   * when all of it is under way for another want.
   */
  launch(
    want: WantState,
    unit: number,
    { from, most, nowMs }: { from: string; most: number; nowMs: number },
  ): Flight | null {
    const hedges = want.flights.has(unit);
    const positions: number[] = [];
    let bytes = 0;
    for (let p = want.units.first(unit); p < want.units.end(unit); p++) {
      const chunk = want.units.chunks[p];
      if (!chunk || !want.missing.has(p)) continue;
      const under = this.#chunks.get(chunk.hash) ?? 0;
      if (under > 0 && !hedges) continue;
      if (positions.length > 0 && bytes + chunk.bytes > most) break;
      this.#chunks.set(chunk.hash, under + 1);
      positions.push(p);
      bytes += chunk.bytes;
    }
    if (positions.length === 0) return null;
    const background = !want.foreground;
    const flight: Flight = { want, unit, from, positions, bytes, sinceMs: nowMs, background };
    this.#all.add(flight);
    const others = want.flights.get(unit);
    if (others) others.push(flight);
    else want.flights.set(unit, [flight]);
    want.rarity.remove(unit);
    this.bytes += bytes;
    this.#largestUnit = Math.max(this.#largestUnit, bytes);
    const source = this.#source(from);
    source?.flights.add(flight);
    if (source) source.flightBytes += bytes;
    if (from === ORIGIN) this.origin++;
    return flight;
  }

  /** Books it out; what did not come may be asked for again. */
  land(flight: Flight): void {
    const { want, unit, bytes } = flight;
    if (!this.#all.delete(flight)) return;
    this.bytes -= bytes;
    for (const position of flight.positions) {
      const hash = want.units.chunks[position]?.hash ?? "";
      const under = this.#chunks.get(hash) ?? 1;
      if (under > 1) this.#chunks.set(hash, under - 1);
      else this.#chunks.delete(hash);
    }
    const others = want.flights.get(unit)?.filter((f) => f !== flight) ?? [];
    if (others.length > 0) want.flights.set(unit, others);
    else want.flights.delete(unit);
    if (others.length === 0 && want.missingIn(unit) > 0) want.rarity.add(unit);
    const source = this.#source(flight.from);
    if (source?.flights.delete(flight)) source.flightBytes -= bytes;
    if (flight.from === ORIGIN) this.origin--;
  }

  /** An answer came. */
  note(bytes: number, tookMs: number): void {
    this.#typicalMs = (this.#typicalMs ?? tookMs) + (tookMs - (this.#typicalMs ?? tookMs)) / 16;
    if (tookMs < AIM_MS) this.#windowBytes = Math.min(64 << 20, this.#windowBytes + bytes);
    else if (tookMs > 2 * AIM_MS)
      this.#windowBytes = Math.max(bytes, this.#windowBytes - bytes / 2);
  }
}

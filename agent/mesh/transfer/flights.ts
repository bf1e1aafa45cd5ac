/** What is under way: by want, by host and by chunk, and how much of it is good. */
import { Load } from "./load.ts";
import type { Source } from "./sources.ts";
import { type Flight, ORIGIN, type WantState } from "./wants.ts";

/**
 * Bounds of what is under way at once, in units and bytes. Raised: what was chosen early waits in
 * queues while rarer units and freer hosts come up; lowered: links run dry between answers.
 */
const UNITS_MIN = 8;
const WINDOW_BYTES_MAX = 64 << 20;
const TYPICAL_MS_START = 5;

export class Flights {
  readonly #source: (host: string) => Source | undefined;
  readonly #all = new Set<Flight>();
  /** How often a chunk is under way, so that no two wants ask for the same. */
  readonly #chunks = new Map<string, number>();
  #largestUnit = 1 << 20;
  #windowBytes = 0;
  /** The shortest time to an answer lately: there and back with nothing in between. */
  #leastMs = Number.POSITIVE_INFINITY;
  /** From asking to the answer, lately. */
  typicalMs = TYPICAL_MS_START;
  /** Few answers took longer lately. */
  #slowMs = 0;
  /** When staging last made way for a request here. */
  yieldedMs = Number.NEGATIVE_INFINITY;
  readonly load = new Load();
  origin = 0;

  constructor(source: (host: string) => Source | undefined) {
    this.#source = source;
  }

  get count(): number {
    return this.#all.size;
  }

  /** Bytes asked for in the background, by host; the origin is one. */
  open(): Map<string, number> {
    const open = new Map<string, number>();
    for (const { background, from, bytes } of this.#all)
      if (background) open.set(from, (open.get(from) ?? 0) + bytes);
    return open;
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
    return Math.max(this.#windowBytes, UNITS_MIN * this.#largestUnit);
  }

  /** How many units may be under way from each of so many hosts; somewhat more than their part. */
  share(hosts: number): number {
    return Math.ceil((1.5 * this.windowBytes) / (this.#largestUnit * hosts));
  }

  /** How long a silent peer is waited for when nothing else is left to do. */
  patienceMs(mostMs: number): number {
    return this.#slowMs === 0 ? mostMs : Math.min(mostMs, 250 + 3 * this.#slowMs);
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
    this.load.begin(flight);
    this.#largestUnit = Math.max(this.#largestUnit, bytes);
    this.#source(from)?.asked(flight);
    if (from === ORIGIN) this.origin++;
    return flight;
  }

  /** Background flights that bring something of a want that is not to wait for background. */
  behind({ units }: WantState): Flight[] {
    const brings = ({ want, positions }: Flight) =>
      positions.some((p) => units.positionsOf(want.units.chunks[p]?.hash ?? "").length > 0);
    return [...this.#all].filter((flight) => flight.background && brings(flight));
  }

  /** How long its host has given nothing, though it might have. */
  silentMs(flight: Flight, nowMs: number): number {
    const answeredMs = this.#source(flight.from)?.answeredMs ?? 0;
    return Math.min(this.tookMs(flight, nowMs), nowMs - answeredMs);
  }

  /** How long it has been under way since it was last held back. */
  tookMs({ sinceMs, background }: Flight, nowMs: number): number {
    return nowMs - Math.max(sinceMs, background ? this.yieldedMs : 0);
  }

  /** Books it out; what did not come may be asked for again. */
  land(flight: Flight): void {
    const { want, unit } = flight;
    if (!this.#all.delete(flight)) return;
    this.load.end(flight);
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
    this.#source(flight.from)?.landed(flight);
    if (flight.from === ORIGIN) this.origin--;
  }

  /** An answer came. More is put under way while answers come as fast as ever. */
  note(bytes: number, tookMs: number): void {
    this.typicalMs += (tookMs - this.typicalMs) / 16;
    this.#slowMs = Math.max(tookMs, this.#slowMs * 0.98);
    this.#leastMs = Math.min(tookMs, this.#leastMs * 1.002 + 0.01);
    const window = this.windowBytes;
    if (tookMs < 2 * this.#leastMs) this.#windowBytes = Math.min(WINDOW_BYTES_MAX, window + bytes);
    else if (tookMs > 4 * this.#leastMs) this.#windowBytes = window - bytes / 2;
  }
}

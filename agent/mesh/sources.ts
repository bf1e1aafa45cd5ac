/** What the transfer core knows of one host it may fetch from, and how much it asks of it. */
import type { Bitmap } from "./bitmap.ts";
import type { ChunkState, Said } from "./wants.ts";

/** What one host said about one manifest. */
export type Known = {
  have: Bitmap;
  /** It fetches this manifest now, so it may be elected to go to the origin. */
  wanting: boolean;
  /** A request waits there for what comes from outside the site. */
  urgent: boolean;
  /** Positions it is fetching from the origin, and since when we know. */
  claims: Map<number, number>;
  /** When it last had more than before, or began. */
  progressMs: number;
};

const WINDOW_START = 8;
const WINDOW_MAX = 64;
const FLIGHT_BYTES_MAX = 8 << 20;
/** A request should be answered within this; the window follows it. */
const ANSWER_MS = 1500;
const BAD_CHUNKS_MAX = 2;
const MISSING_STREAK_MAX = 16;

export class Source {
  readonly host: string;
  /** In our site: asked before any origin, by everybody. */
  readonly local: boolean;
  readonly manifests = new Map<string, Known>();
  flights = 0;
  flightBytes = 0;
  shunned = false;
  backoffUntilMs = 0;
  /** When it last answered anything. */
  answeredMs = 0;
  #window = WINDOW_START;
  #bad = 0;
  #failures = 0;
  #missing = 0;
  #bytesPerMs = 1000;

  constructor(host: string, local: boolean) {
    this.host = host;
    this.local = local;
  }

  /** Whether it may be asked for one more chunk now. */
  free(nowMs: number): boolean {
    return this.usable(nowMs) && this.flights < this.#window && this.flightBytes < FLIGHT_BYTES_MAX;
  }

  usable(nowMs: number): boolean {
    return !this.shunned && nowMs >= this.backoffUntilMs;
  }

  /** Lower is sooner done. */
  costMs(bytes: number): number {
    return (this.flightBytes + bytes) / this.#bytesPerMs;
  }

  noteOk(bytes: number, tookMs: number): void {
    this.#failures = 0;
    this.#missing = 0;
    const rate = bytes / Math.max(1, tookMs);
    this.#bytesPerMs += (rate * Math.max(1, this.flights) - this.#bytesPerMs) * 0.2;
    if (tookMs > ANSWER_MS) this.#window = Math.max(2, this.#window - 1);
    else this.#window = Math.min(WINDOW_MAX, this.#window + 1);
  }

  noteFailed(nowMs: number): void {
    this.backoffUntilMs = nowMs + Math.min(30_000, 500 * 2 ** Math.min(this.#failures++, 6));
    this.#window = Math.max(2, this.#window >> 1);
  }

  noteBusy(nowMs: number): void {
    this.backoffUntilMs = nowMs + 200;
    this.#window = Math.max(2, this.#window >> 1);
  }

  /** A chunk it said it has and has not: once in a while is a race, always is a lie. */
  noteMissing(nowMs: number): void {
    if (++this.#missing < MISSING_STREAK_MAX) return;
    this.#missing = 0;
    this.backoffUntilMs = nowMs + 5_000;
  }

  /** True when that was one too many. */
  noteBad(): boolean {
    this.shunned ||= ++this.#bad >= BAD_CHUNKS_MAX;
    return this.shunned;
  }
}

/** All hosts the transfer core may ask. */
export class Sources {
  readonly #all = new Map<string, Source>();

  get(host: string): Source | undefined {
    return this.#all.get(host);
  }

  get anyLocal(): boolean {
    return this.#all.values().some((s) => s.local);
  }

  hostsWith(id: string): string[] {
    const holding = this.#all.values().filter((s) => s.manifests.get(id)?.have.count);
    return [...holding.map((s) => s.host)];
  }

  /** Takes over what a host said; gives the manifests it spoke of. */
  said(
    event: { host: string; local: boolean; whole: boolean; manifests: Iterable<Said> },
    nowMs: number,
  ): string[] {
    let source = this.#all.get(event.host);
    if (!source) {
      source = new Source(event.host, event.local);
      this.#all.set(event.host, source);
    }
    const before = event.whole ? new Map(source.manifests) : source.manifests;
    if (event.whole) source.manifests.clear();
    const ids: string[] = [];
    for (const said of event.manifests) {
      const old = before.get(said.id);
      const claims = new Map<number, number>();
      for (const p of said.claims) claims.set(p, old?.claims.get(p) ?? nowMs);
      const moved = !old?.wanting || said.have.count > old.have.count;
      const progressMs = moved ? nowMs : old.progressMs;
      const { have, wanting, urgent } = said;
      if (have.count === 0 && !wanting) source.manifests.delete(said.id);
      else source.manifests.set(said.id, { have, wanting, urgent, claims, progressMs });
      ids.push(said.id);
    }
    return ids;
  }

  /** A host that went; what it did wrong is remembered if it was bad enough. */
  forget(source: Source): void {
    source.manifests.clear();
    if (!source.shunned) this.#all.delete(source.host);
  }

  /** What the trusted hosts of the site said of a manifest. */
  *inSite(id: string): Iterable<[Source, Known]> {
    for (const source of this.#all.values()) {
      const known = source.local && !source.shunned ? source.manifests.get(id) : undefined;
      if (known) yield [source, known];
    }
  }

  /** Who fits, has the chunk and will be done with it soonest. */
  pick(chunk: ChunkState, nowMs: number, fits: (s: Source) => boolean): Source | null {
    let best: Source | null = null;
    for (const source of this.#all.values()) {
      if (!fits(source) || !source.free(nowMs) || !has(source, chunk)) continue;
      if (!best || source.costMs(chunk.bytes) < best.costMs(chunk.bytes)) best = source;
    }
    return best;
  }

  /** Whether the site has the chunk; foreground does not wait for a host that failed just now. */
  siteHas(chunk: ChunkState, nowMs: number, foreground: boolean): boolean {
    for (const source of this.#all.values()) {
      if (!source.local || source.shunned || !has(source, chunk)) continue;
      if (!foreground || source.usable(nowMs)) return true;
    }
    return false;
  }

  anyFree(nowMs: number, local: boolean): boolean {
    for (const source of this.#all.values())
      if (source.local === local && source.free(nowMs)) return true;
    return false;
  }

  /** Whether a host of the site said lately that it gets the chunk from outside. */
  claimed(chunk: ChunkState, patienceMs: number, nowMs: number): boolean {
    for (const source of this.#all.values())
      for (const { want, position } of source.local ? chunk.refs : []) {
        const sinceMs = source.manifests.get(want.id)?.claims.get(position);
        if (sinceMs !== undefined && nowMs - sinceMs < patienceMs) return true;
      }
    return false;
  }

  /** Whether a request waits at another host of the site for what comes over the same thin link. */
  urgent(patienceMs: number, nowMs: number): boolean {
    for (const source of this.#all.values()) {
      if (!source.local) continue;
      for (const known of source.manifests.values())
        if (known.urgent && nowMs - known.progressMs < patienceMs) return true;
    }
    return false;
  }

  /** Hosts of the site that fetch the same and get on with it. */
  fetching(id: string, takeoverMs: number, nowMs: number): string[] {
    const hosts: string[] = [];
    for (const [source, known] of this.inSite(id))
      if (known.wanting && nowMs - known.progressMs < takeoverMs) hosts.push(source.host);
    return hosts;
  }
}

function has(source: Source, chunk: ChunkState): boolean {
  return chunk.refs.some((r) => source.manifests.get(r.want.id)?.have.has(r.position));
}

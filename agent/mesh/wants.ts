/** The words of the transfer core: what goes in, what comes out, what it remembers of a want. */
import type { Bitmap } from "./bitmap.ts";
import type { Known } from "./sources.ts";

/** Stands for the origin where a host could stand; no host name has a colon. */
export const ORIGIN = "origin:";

export type Want = {
  /** Manifest hash. */
  id: string;
  /** By position. */
  chunks: readonly { hash: string; bytes: number }[];
  /** Positions not held. */
  missing: Iterable<number>;
  priority: number;
  deadlineMs: number;
  foreground: boolean;
  hasOrigin: boolean;
};

export type Said = {
  id: string;
  have: Bitmap;
  wanting: boolean;
  /** A request waits for it, and it comes from outside the site. */
  urgent: boolean;
  claims: Iterable<number>;
};

export type TransferEvent =
  | { type: "want"; want: Want }
  | { type: "unwant"; id: string }
  | { type: "rate"; bytesPerSecond: number }
  /** How many other hosts the site has, connected or not. */
  | { type: "neighbours"; count: number }
  /** Replaces what was known of these manifests; `whole` of all its manifests. */
  | { type: "said"; host: string; local: boolean; whole: boolean; manifests: Iterable<Said> }
  | { type: "gone"; host: string }
  /** A chunk is held now, wherever it came from. */
  | { type: "stored"; hash: string }
  | { type: "answer"; hash: string; from: string; result: Answer }
  | { type: "tick" };
/** `ok`: verified and stored. */
export type Answer = "ok" | "missing" | "busy" | "bad" | "failed";

export type Effect =
  | { type: "request"; host: string; hash: string; bytes: number; foreground: boolean }
  | { type: "origin"; id: string; position: number; hash: string; bytes: number; fg: boolean }
  | { type: "cancel"; from: string; hash: string }
  | { type: "complete"; id: string }
  | { type: "shun"; host: string }
  /** What others know of this manifest is out of date. */
  | { type: "announce"; id: string };

export type Flight = {
  chunk: ChunkState;
  from: string;
  sinceMs: number;
  background: boolean;
  want: WantState;
};
export type ChunkState = {
  hash: string;
  bytes: number;
  refs: { want: WantState; position: number }[];
  flights: Flight[];
};
export type WantState = Omit<Want, "missing"> & {
  missing: number;
  flights: number;
  /** Positions, rarest first; `retry` before it, those without a holder in `orphans`. */
  queue: number[];
  retry: number[];
  orphans: number[];
  stale: boolean;
  /** Nobody to ask for an orphan was found: not looked again before. */
  restUntilMs: number;
  builtMs: number;
  startedMs: number;
  progressMs: number;
  originFailures: number;
  originBackoffUntilMs: number;
};

export function newWant(want: Omit<Want, "missing">, nowMs: number): WantState {
  const lists = { queue: [], retry: [], orphans: [], stale: true, builtMs: -Infinity };
  const times = { startedMs: nowMs, progressMs: nowMs, restUntilMs: nowMs };
  const origin = { originFailures: 0, originBackoffUntilMs: 0 };
  return { ...want, ...lists, ...times, ...origin, missing: 0, flights: 0 };
}

/** Most urgent first. */
export function byUrgency(a: WantState, b: WantState): number {
  return (
    Number(b.foreground) - Number(a.foreground) ||
    b.priority - a.priority ||
    a.deadlineMs - b.deadlineMs ||
    (a.id < b.id ? -1 : 1)
  );
}

/** Sorts the missing positions by how many of the site have them; starts where no other does. */
export function rank(
  want: WantState,
  holders: Known[],
  isMissing: (hash: string) => boolean,
  self: string,
): void {
  const byCount: number[][] = [];
  const size = want.chunks.length;
  const start = offset(self, size);
  for (let i = 0; i < size; i++) {
    const position = (start + i) % size;
    if (!isMissing(want.chunks[position]?.hash ?? "")) continue;
    let count = 0;
    for (const known of holders) if (known.have.has(position)) count++;
    const list = byCount[count] ?? [];
    byCount[count] = list;
    list.push(position);
  }
  want.orphans = byCount[0] ?? [];
  want.queue = byCount.slice(1).flat();
  want.retry = [];
  want.stale = false;
}

/** Spread well also for names that differ in one digit: else all would ask for the same chunks. */
function offset(host: string, size: number): number {
  let h = 7;
  for (let i = 0; i < host.length; i++) h = (Math.imul(h, 31) + host.charCodeAt(i)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return size === 0 ? 0 : ((h ^ (h >>> 16)) >>> 0) % size;
}

/** Who stays, who goes and who starts next on one host: pure decisions of the pool. */
import type { Mode } from "../../shared/workload.ts";

export type KeepView = {
  /** Whether the workload still exists, as it was when this was made. */
  declared: boolean;
  /** The plan lists it now. */
  listed: boolean;
  /** The plan listed it at some time. */
  wasPlanned: boolean;
  /** Requests in flight or waiting. */
  busy: boolean;
  mode: Mode;
  keepAliveMs: number;
  /** Last use, or when it became warm; demand clock. */
  idleSinceMs: number;
};

/**
 * Until when (demand clock) an environment stays: Infinity = no end in sight, -Infinity = not at
 * all. In `act` mode the plan decides what stays, so one it does not list gets only a short grace.
 * Without a coordinator nobody plans, and the workload's own keep-alive holds in every mode.
 */
export function keepUntilMs(
  view: KeepView,
  { graceMs, connected }: { graceMs: number; connected: boolean },
): number {
  if (!view.declared) return Number.NEGATIVE_INFINITY;
  if (view.listed || view.busy) return Number.POSITIVE_INFINITY;
  if (view.wasPlanned) return view.idleSinceMs;
  if (view.mode === "act" && connected) return view.idleSinceMs + graceMs;
  return view.idleSinceMs + view.keepAliveMs;
}

export type Reclaimable = {
  id: string;
  memoryBytes: number;
  planned: boolean;
  priority: number;
  idleSinceMs: number;
};

export type Room = { memoryBytes: number; environments: number };

/**
 * Which idle environments go so that `need` fits: the longest idle of those no plan lists first;
 * for a waiting request, if that is not enough, planned ones of the lowest priority too. Null when
 * it would not fit even then; nothing goes in vain.
 */
export function chooseReclaim(
  idle: readonly Reclaimable[],
  need: Room,
  by: "request" | "plan",
): string[] | null {
  const order = idle
    .filter((one) => by === "request" || !one.planned)
    .sort(
      (a, b) =>
        Number(a.planned) - Number(b.planned) ||
        (a.planned ? a.priority - b.priority : 0) ||
        a.idleSinceMs - b.idleSinceMs ||
        (a.id < b.id ? -1 : 1),
    );
  const chosen: string[] = [];
  let { memoryBytes, environments } = need;
  for (const one of order) {
    if (memoryBytes <= 0 && environments <= 0) break;
    memoryBytes -= one.memoryBytes;
    environments -= 1;
    chosen.push(one.id);
  }
  return memoryBytes <= 0 && environments <= 0 ? chosen : null;
}

export type Starting = {
  id: string;
  /** A request waits for it. */
  foreground: boolean;
  priority: number;
  deadlineMs: number;
  order: number;
};

/** First is started first: waiting requests, then priority, then the nearest deadline. */
export function byUrgency(a: Starting, b: Starting): number {
  return (
    Number(b.foreground) - Number(a.foreground) ||
    b.priority - a.priority ||
    a.deadlineMs - b.deadlineMs ||
    a.order - b.order
  );
}

/** What a routed request found, as the one outcome row that is recorded where it entered. */
import type { HostId, Outcome, OutcomeKind } from "../../shared/domain.ts";
import { OutcomeKind as OutcomeKinds } from "../../shared/domain.ts";

export type Found = {
  kind: OutcomeKind;
  waitedMs: number;
  orderId: string | null;
  memoryByteMs: number;
};

export const HOP_HEADERS = {
  outcome: "prestage-outcome",
  waitedMs: "prestage-waited-ms",
  order: "prestage-order",
  memory: "prestage-memory-byte-ms",
} as const;

/** warm → hit, late → late, made → miss. */
export function outcomeKind(acquired: "warm" | "late" | "made"): OutcomeKind {
  return acquired === "warm" ? "hit" : acquired === "late" ? "late" : "miss";
}

/** What the router of another host says in its answer's headers for the one that asked it. */
export function foundHeaders(found: Found): [string, string][] {
  const rows: [string, string][] = [
    [HOP_HEADERS.outcome, found.kind],
    [HOP_HEADERS.waitedMs, found.waitedMs.toFixed(3)],
    [HOP_HEADERS.memory, String(Math.round(found.memoryByteMs))],
  ];
  if (found.orderId !== null) rows.push([HOP_HEADERS.order, encodeURIComponent(found.orderId)]);
  return rows;
}

/** Reads those; null when the answer has none, as from something that is no router. */
export function readFound(header: (name: string) => string | undefined): Found | null {
  const kind = OutcomeKinds.safeParse(header(HOP_HEADERS.outcome));
  if (!kind.success) return null;
  return {
    kind: kind.data,
    waitedMs: amount(header(HOP_HEADERS.waitedMs)),
    orderId: orderIn(header(HOP_HEADERS.order)),
    memoryByteMs: amount(header(HOP_HEADERS.memory)),
  };
}

export function outcomeOf(request: {
  workload: string;
  category: string;
  /** Where it was served, or should have been. */
  host: HostId;
  atMs: number;
  firstByteMs: number;
  status: number;
  /** Null when nothing served it: a miss. */
  found: Found | null;
}): Outcome {
  const { found, ...row } = request;
  return {
    ...row,
    kind: found?.kind ?? "miss",
    // A router cannot have waited longer than the whole took.
    waitedMs: Math.min(found?.waitedMs ?? request.firstByteMs, request.firstByteMs),
    orderId: found?.orderId ?? null,
    bytes: 0,
    memoryByteMs: found?.memoryByteMs ?? 0,
  };
}

function amount(text: string | undefined): number {
  const value = Number(text);
  return Number.isFinite(value) && value >= 0 ? value : 0;
}

function orderIn(text: string | undefined): string | null {
  if (text === undefined || text.length > 600) return null;
  try {
    return decodeURIComponent(text).slice(0, 200);
  } catch (cause) {
    if (cause instanceof URIError) return null;
    throw cause;
  }
}

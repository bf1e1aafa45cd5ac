/**
 * Demand and outcomes on their way to the coordinator. One batch is under way at a time, with a
 * number and a content that stay until it is acknowledged; what comes meanwhile waits. So the
 * coordinator takes each batch over exactly once by comparing one number, and nothing has to be
 * put in order. Refused alternative: a window of numbered batches, which needs gaps declared when
 * the backlog overflows, for a throughput that nobody needs (1,000 items per round trip).
 */
import type { DemandBin, Outcome } from "../../shared/domain.ts";
import { RECORDS_ITEMS_MAX, type Records } from "../../shared/protocol/bodies.ts";

const CHUNK_ITEMS = 250;

/** A list that is cheap to append to without changing the old one. */
type Backlog<T> = { readonly chunks: readonly (readonly T[])[]; readonly size: number };

export type Outbox = {
  /** The number the next batch will get. */
  readonly nextSeq: number;
  /** `sentMs` is null while it was not sent on the present connection. */
  readonly underWay: { readonly records: Records; readonly sentMs: number | null } | null;
  readonly demand: Backlog<DemandBin>;
  readonly outcomes: Backlog<Outcome>;
  /** Lost for want of room, oldest first. */
  readonly droppedDemand: number;
  readonly droppedOutcomes: number;
};

export type OutboxLimits = {
  /** Items kept while the coordinator is away; each takes some 200 bytes. */
  demandMax: number;
  outcomesMax: number;
};

export const EMPTY_OUTBOX: Outbox = {
  nextSeq: 1,
  underWay: null,
  demand: { chunks: [], size: 0 },
  outcomes: { chunks: [], size: 0 },
  droppedDemand: 0,
  droppedOutcomes: 0,
};

/** Nothing waits and nothing is under way. */
export function isEmpty(outbox: Outbox): boolean {
  return outbox.underWay === null && outbox.demand.size === 0 && outbox.outcomes.size === 0;
}

/** With more to send. Counts for the same bin are added up; the oldest items make room. */
export function add(
  outbox: Outbox,
  demand: readonly DemandBin[],
  outcomes: readonly Outcome[],
  limits: OutboxLimits,
): Outbox {
  const bins = demand.reduce(addBin, outbox.demand);
  const demandKept = keepNewest(bins, limits.demandMax);
  const outcomesAll = outcomes.reduce(append, outbox.outcomes);
  const outcomesKept = keepNewest(outcomesAll, limits.outcomesMax);
  return {
    ...outbox,
    demand: demandKept,
    outcomes: outcomesKept,
    droppedDemand: outbox.droppedDemand + bins.size - demandKept.size,
    droppedOutcomes: outbox.droppedOutcomes + outcomesAll.size - outcomesKept.size,
  };
}

/** The batch to send now, if one waits: the unacknowledged one first, else the next. */
export function send(outbox: Outbox, nowMs: number): { outbox: Outbox; records: Records | null } {
  if (outbox.underWay) {
    const { records } = outbox.underWay;
    return { outbox: { ...outbox, underWay: { records, sentMs: nowMs } }, records };
  }
  if (isEmpty(outbox)) return { outbox, records: null };
  const [demand, demandRest] = takeOldest(outbox.demand, RECORDS_ITEMS_MAX);
  const [outcomes, outcomesRest] = takeOldest(outbox.outcomes, RECORDS_ITEMS_MAX);
  const records = { seq: outbox.nextSeq, demand, outcomes };
  return {
    records,
    outbox: {
      ...outbox,
      nextSeq: outbox.nextSeq + 1,
      underWay: { records, sentMs: nowMs },
      demand: demandRest,
      outcomes: outcomesRest,
    },
  };
}

/** Everything up to `seq` is stored by the coordinator. */
export function acknowledge(outbox: Outbox, seq: number): Outbox {
  if (!outbox.underWay || seq < outbox.underWay.records.seq) return outbox;
  return { ...outbox, underWay: null };
}

/** The connection is gone: whether the batch arrived is unknown. */
export function disconnected(outbox: Outbox): Outbox {
  if (!outbox.underWay) return outbox;
  return { ...outbox, underWay: { records: outbox.underWay.records, sentMs: null } };
}

function append<T>(list: Backlog<T>, item: T): Backlog<T> {
  const last = list.chunks.at(-1);
  const chunks =
    last && last.length < CHUNK_ITEMS
      ? [...list.chunks.slice(0, -1), [...last, item]]
      : [...list.chunks, [item]];
  return { chunks, size: list.size + 1 };
}

function addBin(list: Backlog<DemandBin>, bin: DemandBin): Backlog<DemandBin> {
  const last = list.chunks.at(-1) ?? [];
  const index = last.findIndex(
    (b) =>
      b.startMs === bin.startMs &&
      b.category === bin.category &&
      b.workload === bin.workload &&
      b.host === bin.host,
  );
  const same = last[index];
  if (!same) return append(list, bin);
  const merged = last.with(index, { ...same, count: same.count + bin.count });
  return { chunks: [...list.chunks.slice(0, -1), merged], size: list.size };
}

function takeOldest<T>(list: Backlog<T>, max: number): [T[], Backlog<T>] {
  const taken: T[] = [];
  const chunks = [...list.chunks];
  while (chunks.length > 0 && taken.length < max) {
    const chunk = chunks.shift() ?? [];
    const room = max - taken.length;
    taken.push(...chunk.slice(0, room));
    if (chunk.length > room) chunks.unshift(chunk.slice(room));
  }
  return [taken, { chunks, size: list.size - taken.length }];
}

function keepNewest<T>(list: Backlog<T>, max: number): Backlog<T> {
  return list.size <= max ? list : takeOldest(list, list.size - max)[1];
}

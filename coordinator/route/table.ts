/**
 * Which hosts serve a category now, and where a miss makes its environment: numbered tables that
 * agents keep using when the coordinator is away. Only environments with a passing verdict serve.
 * The number changes only with the content, and a hair of affinity does not reorder hosts.
 */
import {
  categoryKey,
  type EnvironmentStatus,
  type HostId,
  type RouteEntry,
  type RouteTable,
} from "../../shared/domain.ts";

export type RoutableHost = {
  id: HostId;
  /** Gone hosts get no routes; a host that only lost its session keeps them. */
  gone: boolean;
  connected: boolean;
  environments: readonly EnvironmentStatus[];
};

export type RouteInput = {
  hosts: readonly RoutableHost[];
  /** Categories that get an entry even while nothing serves them. */
  keys: Iterable<{ workload: string; category: string }>;
  affinity(workload: string, host: HostId): number;
  /** The planner's home hosts; empty: the best connected hosts by affinity. */
  home(workload: string, category: string): readonly HostId[];
  /** Highest version any agent reported: the next one is higher, also after a restart here. */
  reportedVersion: number;
};

export const EMPTY_TABLE: RouteTable = { version: 0, entries: [] };

const ENTRIES_MAX = 20_000;
const SERVING_MAX = 64;
const HOMES_MAX = 8;
const HOMES_BY_AFFINITY = 3;
/** Affinity that a host must be better by to pass one that stood before it. */
const REORDER_MARGIN = 0.05;

type Draft = { workload: string; category: string; serving: HostId[] };

export function routeTable(input: RouteInput, previous: RouteTable): RouteTable {
  const before = new Map(previous.entries.map((e) => [categoryKey(e.workload, e.category), e]));
  const byAffinity = new Map<string, HostId[]>();
  const entries = drafts(input).map((draft): RouteEntry => {
    const key = categoryKey(draft.workload, draft.category);
    return {
      workload: draft.workload,
      category: draft.category,
      serving: ordered(input, draft, before.get(key)).slice(0, SERVING_MAX),
      home: homesFor(input, draft, before.get(key), byAffinity).slice(0, HOMES_MAX),
    };
  });
  const current = previous.version >= input.reportedVersion;
  if (current && previous.version > 0 && sameEntries(entries, previous.entries)) return previous;
  return { version: Math.max(previous.version, input.reportedVersion) + 1, entries };
}

/** Served categories first where there are more than fit; then by name. */
function drafts(input: RouteInput): Draft[] {
  const found = new Map<string, Draft>();
  const draftOf = (workload: string, category: string) => {
    const key = categoryKey(workload, category);
    let draft = found.get(key);
    if (!draft) {
      draft = { workload, category, serving: [] };
      found.set(key, draft);
    }
    return draft;
  };
  for (const host of input.hosts) {
    if (host.gone) continue;
    for (const e of host.environments) {
      if (!mayServe(e)) continue;
      const { serving } = draftOf(e.workload, e.category);
      if (!serving.includes(host.id)) serving.push(host.id);
    }
  }
  for (const { workload, category } of input.keys) draftOf(workload, category);
  const sorted = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, draft]) => draft);
  if (sorted.length <= ENTRIES_MAX) return sorted;
  const served = sorted.filter((draft) => draft.serving.length > 0).slice(0, ENTRIES_MAX);
  const idle = sorted.filter((draft) => draft.serving.length === 0);
  return [...served, ...idle.slice(0, ENTRIES_MAX - served.length)].sort((a, b) =>
    categoryKey(a.workload, a.category) < categoryKey(b.workload, b.category) ? -1 : 1,
  );
}

function mayServe(e: EnvironmentStatus): boolean {
  return (e.state === "warm" || e.state === "serving") && e.verdict?.passed === true;
}

/** Best first, but in the order of before where the difference is a hair. */
function ordered(input: RouteInput, draft: Draft, before: RouteEntry | undefined): HostId[] {
  const { serving, workload } = draft;
  if (serving.length < 2) return serving;
  return stableByAffinity(serving, before?.serving ?? [], (id) => input.affinity(workload, id));
}

/**
 * Keeps the order of before unless some host has to pass another by more than the margin; then
 * sorts anew. (Passing one by one is no order: a hair three times is more than the margin.)
 */
function stableByAffinity(
  hosts: readonly HostId[],
  before: readonly HostId[],
  affinity: (id: HostId) => number,
): HostId[] {
  const value = new Map(hosts.map((id) => [id, affinity(id)]));
  const of = (id: HostId) => value.get(id) ?? 0;
  const present = new Set(hosts);
  const kept = before.filter((id) => present.has(id));
  let least = Number.POSITIVE_INFINITY;
  let steady = kept.length === hosts.length;
  for (const id of kept) {
    if (of(id) > least + REORDER_MARGIN) steady = false;
    least = Math.min(least, of(id));
  }
  return steady ? kept : [...hosts].sort((a, b) => of(b) - of(a) || (a < b ? -1 : 1));
}

function homesFor(
  input: RouteInput,
  draft: Draft,
  before: RouteEntry | undefined,
  byAffinity: Map<string, HostId[]>,
): readonly HostId[] {
  const planned = input.home(draft.workload, draft.category);
  if (planned.length > 0) return planned;
  const { workload } = draft;
  let best = byAffinity.get(workload);
  if (!best) {
    const live = input.hosts.filter((host) => host.connected && !host.gone).map((host) => host.id);
    const value = new Map(live.map((id) => [id, input.affinity(workload, id)]));
    best = live.sort((a, b) => (value.get(b) ?? 0) - (value.get(a) ?? 0) || (a < b ? -1 : 1));
    byAffinity.set(workload, best);
  }
  return steadyHomes(best, before?.home ?? [], (id) => input.affinity(workload, id));
}

/** The homes of before stay while each is live and none outside is better by the margin. */
function steadyHomes(
  best: readonly HostId[],
  before: readonly HostId[],
  affinity: (id: HostId) => number,
): HostId[] {
  const top = best.slice(0, HOMES_BY_AFFINITY);
  if (before.length !== top.length || !before.every((id) => best.includes(id))) return top;
  const least = Math.min(...before.map(affinity));
  const rival = top.find((id) => !before.includes(id) && affinity(id) > least + REORDER_MARGIN);
  return rival === undefined ? stableByAffinity(before, before, affinity) : top;
}

function sameEntries(a: readonly RouteEntry[], b: readonly RouteEntry[]): boolean {
  return a.length === b.length && a.every((entry, i) => sameEntry(entry, b[i]));
}

function sameEntry(a: RouteEntry, b: RouteEntry | undefined): boolean {
  return (
    b !== undefined &&
    a.workload === b.workload &&
    a.category === b.category &&
    sameIds(a.serving, b.serving) &&
    sameIds(a.home, b.home)
  );
}

function sameIds(a: readonly HostId[], b: readonly HostId[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}

/**
 * The heart: from what is known now to what every host should hold and keep warm. Pure; called
 * once a minute of the demand clock (and when something changed), best as the minute begins.
 *
 * Per category a few hosts are weighed: the best by affinity, and wherever it already is. Each
 * gives up to two candidates: its data on disk (cheap to hold, so worth it at a low probability
 * within the hour), and a warm environment (memory, so decided minute by minute: see decide.ts).
 * What pays competes for the budgets (select.ts); what does not is shown with the reason.
 * Where a better host takes over, the ready environment stays until the new one is ready.
 *
 * Refused: one global optimisation over all hosts and categories; it is NP-hard, unexplainable to
 * the person who asks `prestage why`, and its plans jump when a number moves by a hair.
 */
import { categoryKey, type HostId, type Order, type Reason } from "../../shared/domain.ts";
import type { Workload } from "../../shared/workload.ts";
import {
  type Candidate,
  type Continued,
  fetchMs,
  missingBytes,
  neededInMs,
  orderOf,
  type Subject,
  stageCandidate,
  warmCandidate,
} from "./candidate.ts";
import { explicitOrders } from "./explicit.ts";
import type { ArtifactNeed, PlanInput, PlanResult } from "./input.ts";
import {
  type HostIndex,
  hashText,
  indexHost,
  type Place,
  place,
  spreadOf,
  topHosts,
} from "./rank.ts";
import { type Capacity, type Item, type Selection, select } from "./select.ts";

/** Hosts weighed beyond those a workload asks for, so that a full one has alternatives. */
const ALTERNATIVES = 2;
const HOMES = 3;
/** What doing it on the next best host counts, relative to the one before. */
const NEXT_PLACE_SHARE = 0.5;
/** How long after its deadline a start under way is still seen through, demand clock. */
const PATIENCE_MS = 120_000;
const WEIGHT_MIN = 0.01;
const WEIGHT_MAX = 10;

type World = {
  input: PlanInput;
  indexes: HostIndex[];
  live: Uint8Array;
  salts: Uint32Array;
  priorities: Map<string, number>;
  /** Orders taken before: per category, then per host. */
  continued: Map<string, Map<number, Ordered>>;
  environmentHosts: Map<string, number[]>;
  /** Per host, of the workload being weighed. */
  affinity: Float64Array;
};

type Ordered = { stage?: Continued; warm?: Continued };

type Weighed = {
  candidate: Candidate;
  mode: Workload["mode"];
  /** Why it is out of the question, whatever it would gain. */
  blocked: Reason | null;
  /** Index among the items it competes with; null while it does not. */
  item: number | null;
};

export function plan(input: PlanInput): PlanResult {
  const world = worldOf(input);
  const weighed: Weighed[] = [];
  const places = new Map<string, Place[]>();
  for (const workload of input.workloads) weighWorkload(world, workload, weighed, places);
  const explicit = explicitOrders(input, world.indexes);
  const capacity = capacityOf(world);
  const acting = choose(weighed, "act", capacity, explicit.items);
  const advised = choose(weighed, "advise", acting.remaining(), []);
  const orders = explicit.orders((i) => acting.taken.has(i));
  for (const one of weighed) {
    const row = rowOf(world, one, one.mode === "act" ? acting : advised);
    if (row) orders.push(row);
  }
  return { orders, homes: homesOf(world, places, orders) };
}

function worldOf(input: PlanInput): World {
  const indexes = input.hosts.map(indexHost);
  const position = new Map(input.hosts.map((host, i) => [host.id, i]));
  const continued = new Map<string, Map<number, Ordered>>();
  for (const order of input.previous) {
    const { workload, category } = order;
    const host = position.get(order.host);
    if (!order.taken || workload === null || category === null || host === undefined) continue;
    const key = categoryKey(workload, category);
    const hosts = continued.get(key) ?? new Map<number, Ordered>();
    hosts.set(host, { ...hosts.get(host), [order.kind]: order });
    continued.set(key, hosts);
  }
  const environmentHosts = new Map<string, number[]>();
  indexes.forEach((index, host) => {
    for (const key of index.environments.keys()) {
      const hosts = environmentHosts.get(key);
      if (hosts) hosts.push(host);
      else environmentHosts.set(key, [host]);
    }
  });
  return {
    input,
    indexes,
    live: Uint8Array.from(input.hosts, (host) => (host.connected ? 1 : 0)),
    salts: Uint32Array.from(input.hosts, (host) => hashText(host.id)),
    priorities: new Map(input.classes.map((c) => [c.name, c.priority])),
    continued,
    environmentHosts,
    affinity: new Float64Array(input.hosts.length),
  };
}

function weighWorkload(
  world: World,
  workload: Workload,
  into: Weighed[],
  places: Map<string, Place[]>,
): void {
  const { input } = world;
  const categories = input.categories(workload.name);
  if (categories.length === 0) return;
  const { affinity } = world;
  input.hosts.forEach((host, i) => {
    affinity[i] = input.affinity(workload.name, host.id);
  });
  for (const category of categories) {
    const needs = input.artifacts(workload.name, category);
    const key = categoryKey(workload.name, category);
    const around = placesOf(world, workload, key, needs ?? [], affinity);
    places.set(key, around);
    if (needs === null || around.length === 0) continue;
    const subject = subjectOf(world, workload, category, needs, key, around);
    into.push(...weighCategory(world, subject, around));
  }
}

function subjectOf(
  world: World,
  workload: Workload,
  category: string,
  needs: readonly ArtifactNeed[],
  key: string,
  around: readonly Place[],
): Subject {
  const { input } = world;
  const measured = input.measured(workload.name);
  const priority = world.priorities.get(workload.class) ?? 100;
  const curve = input.curve(workload.name, category);
  return {
    workload,
    category,
    curve,
    neededInMs: neededInMs(curve),
    needs,
    totalBytes: needs.reduce((sum, need) => sum + need.bytes, 0),
    refs: needs.map((need) => need.ref),
    aggressiveness: input.aggressiveness(workload.name, category),
    support: input.support(workload.name, category),
    weight: Math.min(WEIGHT_MAX, Math.max(WEIGHT_MIN, priority / 100)),
    warmMs: measured.warmMs,
    fetchMs: leastFetchMs(world, around),
    speed: input.speed,
    prices: input.prices,
    now: input.now,
    key,
    groups: { stage: `stage:${key}`, warm: `warm:${key}` },
    decisions: new Map(),
  };
}

/** A miss is made where its data is, if anywhere: what its data costs it is the same for all. */
function leastFetchMs({ input }: World, around: readonly Place[]): number {
  let least = Number.POSITIVE_INFINITY;
  for (const { host, missingBytes: missing } of around) {
    const view = input.hosts[host];
    if (view?.connected) least = Math.min(least, fetchMs(view, missing, input.speed));
  }
  return Number.isFinite(least) ? least : 0;
}

/** The hosts weighed for a category, best first. */
function placesOf(
  world: World,
  workload: Workload,
  key: string,
  needs: readonly ArtifactNeed[],
  affinity: Float64Array,
): Place[] {
  const keyHash = hashText(key);
  const count = workload.placement.hosts + ALTERNATIVES;
  const hosts = new Set(topHosts(affinity, world.salts, keyHash, world.live, count));
  for (const host of world.environmentHosts.get(key) ?? []) hosts.add(host);
  const ordered = world.continued.get(key);
  for (const host of ordered?.keys() ?? []) hosts.add(host);
  const total = needs.reduce((sum, need) => sum + need.bytes, 0);
  const places: Place[] = [];
  for (const host of hosts) {
    const index = world.indexes[host];
    if (!index) continue;
    const missing = missingBytes(needs, index);
    const held = total === 0 ? 0 : 1 - missing / total;
    const spread = spreadOf(keyHash, world.salts[host] ?? 0);
    const before = ordered?.get(host);
    places.push(
      place(host, affinity[host] ?? 0, spread, {
        missingBytes: missing,
        environment: index.environments.get(key) ?? null,
        held,
        orderedWarm: before?.warm !== undefined,
        orderedStage: before?.stage !== undefined,
        fresh: world.input.now < (before?.warm?.deadlineMs ?? 0) + PATIENCE_MS,
      }),
    );
  }
  return places.sort((a, b) => b.score - a.score || a.host - b.host);
}

function weighCategory(world: World, subject: Subject, around: readonly Place[]): Weighed[] {
  const { mode } = subject.workload;
  const weighed: Weighed[] = [];
  for (const one of around) {
    const host = world.input.hosts[one.host];
    if (!host) continue;
    const missing = one.missingBytes;
    const stage = mode === "observe" ? null : stageCandidate(subject, one, host, missing);
    const warm = warmCandidate(subject, one, host, missing);
    for (const candidate of stage ? [stage, warm] : [warm])
      weighed.push({ candidate, mode, blocked: blockedBy(world, candidate, mode), item: null });
    if (mode === "observe") break;
  }
  rankValues(weighed, "stage");
  rankValues(weighed, "warm");
  // Where nothing pays anywhere, one row per kind says so.
  for (const kind of ["stage", "warm"] as const) {
    const some = weighed.some((w) => w.candidate.kind === kind && w.candidate.value > 0);
    if (some) continue;
    let seen = false;
    for (let i = 0; i < weighed.length; i++) {
      const one = weighed[i];
      if (one?.candidate.kind !== kind) continue;
      if (seen && one.blocked !== "host-gone") weighed.splice(i--, 1);
      seen = true;
    }
  }
  return weighed;
}

/**
 * The rule of placement: the first host that can is the place, by affinity with what speaks for
 * staying, and each further one counts at most half of the one before it, so that it is taken only
 * when that one is full. Gains of keeping and of starting are over different windows and cannot
 * choose between hosts; where keeping does not pay, starting elsewhere does not either.
 */
function rankValues(weighed: Weighed[], kind: Candidate["kind"]): void {
  let valueMax = Number.POSITIVE_INFINITY;
  for (const one of weighed) {
    const { candidate } = one;
    if (candidate.kind !== kind || one.blocked) continue;
    const value = Math.min(candidate.value, valueMax);
    candidate.value = value;
    if (value > 0) valueMax = value * NEXT_PLACE_SHARE;
    else if (candidate.place.ready) valueMax = 0;
  }
}

/**
 * What costs work is not ordered while paused or at peak; what is there may stay, and at peak so
 * may what is under way: its lease is 0, and withdrawing it would only undo it.
 */
function blockedBy(world: World, candidate: Candidate, mode: Workload["mode"]): Reason | null {
  if (mode === "observe") return "mode";
  const host = world.input.hosts[candidate.place.host];
  if (!host?.connected) return "host-gone";
  if (candidate.keep) return null;
  if (world.input.paused) return "paused";
  const { orderedWarm, orderedStage } = candidate.place;
  const underWay = candidate.kind === "warm" ? orderedWarm : orderedStage;
  return !underWay && world.input.throttled.has(host.id) ? "throttled" : null;
}

function capacityOf(world: World): Capacity {
  const { input } = world;
  const acting = new Set(input.workloads.filter((w) => w.mode === "act").map((w) => w.name));
  return {
    bytes: input.budgets.stagingBytes,
    hosts: input.hosts.map((host, i) => {
      const budget = input.budgets.host(host.id);
      let reserved = 0;
      let others = 0;
      let own = 0;
      for (const e of world.indexes[i]?.environments.values() ?? []) {
        if (acting.has(e.workload)) own += e.memoryBytes;
        else {
          reserved += e.memoryBytes;
          others++;
        }
      }
      const free = host.sample ? host.sample.memoryFreeBytes + own : Number.POSITIVE_INFINITY;
      return {
        memory: Math.max(0, Math.min(budget.memoryBytes - reserved, free)),
        disk: budget.diskBytes,
        environments: Math.max(0, budget.environments - others),
      };
    }),
  };
}

function choose(
  weighed: readonly Weighed[],
  mode: Workload["mode"],
  capacity: Capacity,
  fixed: readonly Item[],
): Selection {
  const items: Item[] = [...fixed];
  const competing: Weighed[] = [];
  for (const one of weighed) {
    if (one.mode !== mode || one.blocked || one.candidate.value <= 0) continue;
    one.item = items.length;
    competing.push(one);
    items.push(itemFor(one.candidate));
  }
  const selection = select(items, capacity);
  keepUntilReady(competing, selection);
  return selection;
}

function itemFor(candidate: Candidate): Item {
  const { subject, place: at, kind } = candidate;
  const { workload, needs, totalBytes } = subject;
  const warm = kind === "warm";
  const missing = totalBytes === 0 ? 0 : candidate.missingBytes / totalBytes;
  return {
    host: at.host,
    group: subject.groups[kind],
    limit: workload.placement.hosts,
    gain: candidate.value,
    memory: warm ? memoryOf(candidate) : 0,
    environments: warm ? 1 : 0,
    data: needs.map((need) => ({
      key: need.manifestHash,
      disk: need.bytes,
      bytes: need.bytes * missing,
    })),
  };
}

/** Declared, or measured where that is more. */
function memoryOf(candidate: Candidate): number {
  const declared = candidate.subject.workload.environment.resources.memoryMb * 2 ** 20;
  return Math.max(declared, candidate.place.environment?.memoryBytes ?? 0);
}

/** Where only unready places were taken, the ready ones that still pay stay as well. */
function keepUntilReady(competing: readonly Weighed[], selection: Selection): void {
  const coming = new Map<string, number>();
  for (const { candidate, item } of competing) {
    if (candidate.kind !== "warm" || candidate.place.ready) continue;
    if (item === null || !selection.taken.has(item)) continue;
    const { key } = candidate.subject;
    coming.set(key, (coming.get(key) ?? 0) + 1);
  }
  for (const { candidate, item } of competing) {
    if (candidate.kind !== "warm" || !candidate.place.ready) continue;
    if (item === null || selection.taken.has(item)) continue;
    const { key } = candidate.subject;
    const left = coming.get(key) ?? 0;
    if (left === 0 || !selection.fits(item)) continue;
    selection.take(item);
    coming.set(key, left - 1);
  }
}

function rowOf(world: World, one: Weighed, selection: Selection): Order | null {
  const { candidate } = one;
  const host = world.input.hosts[candidate.place.host];
  if (!host) return null;
  const verdict = verdictOf(one, selection);
  const before = world.continued.get(candidate.subject.key)?.get(candidate.place.host);
  return orderOf(candidate, host.id, verdict, verdict.taken ? before?.[candidate.kind] : undefined);
}

function verdictOf(one: Weighed, selection: Selection): { taken: boolean; reason: Reason } {
  const { candidate, mode, blocked } = one;
  const no = (reason: Reason) => ({ taken: false, reason });
  if (blocked) return no(blocked);
  const i = one.item;
  if (i === null) return no(candidate.probability < candidate.threshold ? "unlikely" : "not-worth");
  if (selection.taken.has(i))
    return mode === "act"
      ? { taken: true, reason: candidate.keep ? "keep" : "forecast" }
      : no("mode");
  return no(selection.groupFull(i) ? "lower-score" : "no-budget");
}

/** Hosts that were given something first, then the others by score; only live ones. */
function homesOf(
  world: World,
  places: ReadonlyMap<string, Place[]>,
  orders: readonly Order[],
): Map<string, HostId[]> {
  const given = new Map<string, Set<HostId>>();
  for (const order of orders) {
    if (!order.taken || order.workload === null || order.category === null) continue;
    const key = categoryKey(order.workload, order.category);
    const hosts = given.get(key) ?? new Set();
    hosts.add(order.host);
    given.set(key, hosts);
  }
  const homes = new Map<string, HostId[]>();
  for (const [key, around] of places) {
    const live = around.flatMap((one) => {
      const host = world.input.hosts[one.host];
      return host?.connected ? [host.id] : [];
    });
    const first = given.get(key);
    const sorted = first
      ? [...live.filter((id) => first.has(id)), ...live.filter((id) => !first.has(id))]
      : live;
    homes.set(key, sorted.slice(0, HOMES));
  }
  return homes;
}

/**
 * Which candidates to take when not all fit: a knapsack with several limits per host, one for the
 * fleet, and at most so many per category. Greedy by gain per share of the limits, once more by
 * gain alone, the better of both, then single swaps that pay. Refused: an exact solver; the tests
 * hold this against brute force on tiny fleets, and gains are estimates anyway.
 */

/** Bytes of one artifact on a host's disk; shared by all items of that host with the same key. */
export type Share = { key: string; disk: number; bytes: number };

export type Item = {
  /** Index into `Capacity.hosts`. */
  host: number;
  /** At most `limit` items of a group are taken. */
  group: string;
  limit: number;
  /** Over 0. */
  gain: number;
  /** Taken before all others and never given up for one: what a person asked for. */
  fixed?: boolean;
  memory: number;
  environments: number;
  data: readonly Share[];
};

export type HostCapacity = { memory: number; disk: number; environments: number };
export type Capacity = { bytes: number; hosts: readonly HostCapacity[] };

/** Swaps tried; bounds the time where much is refused. */
const SWAPS_MAX = 256;

type Shared = { share: Share; users: number };

/** What is taken, and what of the limits is left. */
export class Selection {
  readonly #items: readonly Item[];
  readonly #left: { bytes: number; hosts: HostCapacity[] };
  readonly #data: Map<string, Shared>[];
  readonly #groups = new Map<string, Set<number>>();
  readonly #byHost: Set<number>[];
  readonly taken = new Set<number>();
  gain = 0;

  constructor(items: readonly Item[], capacity: Capacity) {
    this.#items = items;
    this.#left = { bytes: capacity.bytes, hosts: capacity.hosts.map((h) => ({ ...h })) };
    this.#data = capacity.hosts.map(() => new Map());
    this.#byHost = capacity.hosts.map(() => new Set());
  }

  /** What is left of the limits. */
  remaining(): Capacity {
    return this.#left;
  }

  groupFull(i: number): boolean {
    const item = this.#items[i];
    return item !== undefined && (this.#groups.get(item.group)?.size ?? 0) >= item.limit;
  }

  /** What is taken and could be in the way of an item: of its host, of its group, or of its bytes. */
  rivals(i: number): Iterable<number> {
    const item = this.#items[i];
    if (!item) return [];
    if (this.#newBytes(item) > this.#left.bytes) return this.taken;
    const group = this.#groups.get(item.group) ?? new Set();
    return (this.#byHost[item.host] ?? new Set()).union(group);
  }

  #newBytes(item: Item): number {
    const present = this.#data[item.host];
    return item.data.reduce((sum, one) => sum + (present?.has(one.key) ? 0 : one.bytes), 0);
  }

  fits(i: number): boolean {
    const item = this.#items[i];
    const host = item && this.#left.hosts[item.host];
    const present = item && this.#data[item.host];
    if (!item || !host || !present) return false;
    let disk = 0;
    let bytes = 0;
    for (const share of item.data) {
      if (present.has(share.key)) continue;
      disk += share.disk;
      bytes += share.bytes;
    }
    return (
      item.memory <= host.memory &&
      item.environments <= host.environments &&
      (disk === 0 || disk <= host.disk) &&
      (bytes === 0 || bytes <= this.#left.bytes)
    );
  }

  take(i: number): void {
    this.#apply(i, 1);
    this.taken.add(i);
    const item = this.#items[i];
    if (!item) return;
    this.#byHost[item.host]?.add(i);
    const group = this.#groups.get(item.group);
    if (group) group.add(i);
    else this.#groups.set(item.group, new Set([i]));
  }

  release(i: number): void {
    this.#apply(i, -1);
    this.taken.delete(i);
    const item = this.#items[i];
    if (!item) return;
    this.#byHost[item.host]?.delete(i);
    this.#groups.get(item.group)?.delete(i);
  }

  #apply(i: number, sign: 1 | -1): void {
    const item = this.#items[i];
    const host = item && this.#left.hosts[item.host];
    const present = item && this.#data[item.host];
    if (!item || !host || !present) return;
    this.gain += sign * item.gain;
    host.memory -= sign * item.memory;
    host.environments -= sign * item.environments;
    for (const share of item.data) {
      const shared = present.get(share.key) ?? { share, users: 0 };
      shared.users += sign;
      const changed = sign === 1 ? shared.users === 1 : shared.users === 0;
      if (changed) {
        host.disk -= sign * shared.share.disk;
        this.#left.bytes -= sign * shared.share.bytes;
      }
      if (shared.users === 0) present.delete(share.key);
      else present.set(share.key, shared);
    }
  }
}

/** Items by index; what was refused fits no more or its group is full. */
export function select(items: readonly Item[], capacity: Capacity): Selection {
  const density = items.map((item) => item.gain / (demandShare(item, capacity) + 1e-9));
  const byDensity = order(items, (i) => density[i] ?? 0);
  const first = greedy(items, capacity, byDensity);
  const byGain = order(items, (i) => items[i]?.gain ?? 0);
  if (!contended(items, first)) return first;
  const second = greedy(items, capacity, byGain);
  const [best, other] = first.gain >= second.gain ? [first, second] : [second, first];
  improve(items, best, byGain);
  if (items.length <= SWAPS_MAX) improve(items, other, byGain);
  return other.gain > best.gain ? other : best;
}

/** Whether something was refused for want of room, or for a lesser item of its group. */
function contended(items: readonly Item[], selection: Selection): boolean {
  const least = new Map<string, number>();
  for (const i of selection.taken) {
    const item = items[i];
    if (item) least.set(item.group, Math.min(item.gain, least.get(item.group) ?? item.gain));
  }
  return items.some(
    (item, i) =>
      !selection.taken.has(i) &&
      (!selection.groupFull(i) || item.gain > (least.get(item.group) ?? 0)),
  );
}

/** Indices by falling value, what is fixed first. */
function order(items: readonly Item[], value: (i: number) => number): number[] {
  const values = Float64Array.from({ length: items.length }, (_, i) =>
    items[i]?.fixed ? Number.MAX_VALUE : value(i),
  );
  return items.map((_, i) => i).sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0) || a - b);
}

function greedy(items: readonly Item[], capacity: Capacity, sequence: readonly number[]) {
  const selection = new Selection(items, capacity);
  for (const i of sequence) if (!selection.groupFull(i) && selection.fits(i)) selection.take(i);
  return selection;
}

/** How much of its host's and the fleet's limits an item would take, summed. */
function demandShare(item: Item, capacity: Capacity): number {
  const host = capacity.hosts[item.host] ?? { memory: 0, disk: 0, environments: 0 };
  let disk = 0;
  let bytes = 0;
  for (const share of item.data) {
    disk += share.disk;
    bytes += share.bytes;
  }
  return (
    part(item.memory, host.memory) +
    part(item.environments, host.environments) +
    part(disk, host.disk) +
    part(bytes, capacity.bytes)
  );
}

function part(wanted: number, limit: number): number {
  return wanted <= 0 ? 0 : wanted / Math.max(limit, 1e-9);
}

/** Takes a refused item in place of what stands in its way, where that gains. */
function improve(items: readonly Item[], selection: Selection, byGain: readonly number[]): void {
  let swaps = 0;
  let changed = true;
  for (let round = 0; changed && round < 4; round++) {
    changed = false;
    for (const i of byGain) {
      if (selection.taken.has(i)) continue;
      if (swaps++ >= SWAPS_MAX) return;
      if (swapIn(items, selection, i)) changed = true;
    }
  }
}

function swapIn(items: readonly Item[], selection: Selection, i: number): boolean {
  const wanted = items[i];
  if (!wanted) return false;
  const before = selection.gain;
  const inTheWay = [...selection.rivals(i)]
    .filter((j) => {
      const other = items[j];
      if (!other || other.fixed || other.gain >= wanted.gain) return false;
      return (
        other.host === wanted.host ||
        other.group === wanted.group ||
        other.data.some((share) => share.bytes > 0)
      );
    })
    .sort((a, b) => (items[a]?.gain ?? 0) - (items[b]?.gain ?? 0) || a - b);
  const released: number[] = [];
  const blocked = () => selection.groupFull(i) || !selection.fits(i);
  for (const j of inTheWay) {
    if (!blocked()) break;
    selection.release(j);
    released.push(j);
  }
  if (!blocked()) {
    selection.take(i);
    const added = [i];
    for (const j of released.toReversed()) {
      if (selection.groupFull(j) || !selection.fits(j)) continue;
      selection.take(j);
      added.push(j);
    }
    if (selection.gain > before + 1e-12) return true;
    for (const j of added) selection.release(j);
  }
  for (const j of released) if (!selection.taken.has(j)) selection.take(j);
  return false;
}

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
  readonly #groups = new Map<string, number>();
  readonly taken = new Set<number>();
  gain = 0;

  constructor(items: readonly Item[], capacity: Capacity) {
    this.#items = items;
    this.#left = { bytes: capacity.bytes, hosts: capacity.hosts.map((h) => ({ ...h })) };
    this.#data = capacity.hosts.map(() => new Map());
  }

  /** What is left of the limits. */
  remaining(): Capacity {
    return this.#left;
  }

  groupFull(i: number): boolean {
    const item = this.#items[i];
    return item !== undefined && (this.#groups.get(item.group) ?? 0) >= item.limit;
  }

  /** Whether the fleet's bytes are what it lacks. */
  lacksBytes(i: number): boolean {
    const item = this.#items[i];
    return item !== undefined && this.#newBytes(item) > this.#left.bytes;
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
  }

  release(i: number): void {
    this.#apply(i, -1);
    this.taken.delete(i);
  }

  #apply(i: number, sign: 1 | -1): void {
    const item = this.#items[i];
    const host = item && this.#left.hosts[item.host];
    const present = item && this.#data[item.host];
    if (!item || !host || !present) return;
    this.gain += sign * item.gain;
    host.memory -= sign * item.memory;
    host.environments -= sign * item.environments;
    this.#groups.set(item.group, (this.#groups.get(item.group) ?? 0) + sign);
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
  const byDensity = order(items, (item) => item.gain / (demandShare(item, capacity) + 1e-9));
  const first = greedy(items, capacity, byDensity);
  const byGain = order(items, (item) => item.gain);
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
function order(items: readonly Item[], value: (item: Item) => number): Uint32Array {
  const values = new Float64Array(items.length);
  items.forEach((item, i) => {
    values[i] = item.fixed ? Number.MAX_VALUE : value(item);
  });
  const indices = Uint32Array.from({ length: items.length }, (_, i) => i);
  return indices.sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0) || a - b);
}

function greedy(items: readonly Item[], capacity: Capacity, sequence: Uint32Array) {
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
function improve(items: readonly Item[], selection: Selection, byGain: Uint32Array): void {
  const near = neighbours(items);
  let swaps = 0;
  let changed = true;
  for (let round = 0; changed && round < 4; round++) {
    changed = false;
    for (const i of byGain) {
      if (selection.taken.has(i)) continue;
      if (swaps++ >= SWAPS_MAX) return;
      if (swapIn(items, selection, i, near)) changed = true;
    }
  }
}

/** Items by what they compete for. */
type Neighbours = { hosts: Map<number, number[]>; groups: Map<string, number[]> };

function neighbours(items: readonly Item[]): Neighbours {
  const near: Neighbours = { hosts: new Map(), groups: new Map() };
  const add = <K>(map: Map<K, number[]>, key: K, i: number) => {
    const list = map.get(key);
    if (list) list.push(i);
    else map.set(key, [i]);
  };
  items.forEach((item, i) => {
    add(near.hosts, item.host, i);
    add(near.groups, item.group, i);
  });
  return near;
}

/** What may be in an item's way: its host's, its group's, and where bytes lack, all that takes some. */
function rivals(items: readonly Item[], selection: Selection, i: number, near: Neighbours) {
  const wanted = items[i];
  if (!wanted) return [];
  const all = selection.lacksBytes(i);
  const inGroup = near.groups.get(wanted.group) ?? [];
  const onHost = near.hosts.get(wanted.host) ?? [];
  const some = all ? [...selection.taken] : [...onHost, ...inGroup];
  return some.filter((j, at) => {
    const other = items[j];
    if (!other || other.fixed || other.gain >= wanted.gain || !selection.taken.has(j)) return false;
    const here = other.host === wanted.host;
    if (!all) return !here || at < onHost.length;
    return here || other.group === wanted.group || other.data.some((share) => share.bytes > 0);
  });
}

function swapIn(items: readonly Item[], selection: Selection, i: number, near: Neighbours) {
  const wanted = items[i];
  if (!wanted) return false;
  const before = selection.gain;
  const inTheWay = rivals(items, selection, i, near).sort(
    (a, b) => (items[a]?.gain ?? 0) - (items[b]?.gain ?? 0) || a - b,
  );
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

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { type Capacity, type Item, Selection, select } from "./select.ts";

const item = (over: Partial<Item> = {}): Item => ({
  host: 0,
  group: "g",
  limit: 9,
  gain: 1,
  memory: 0,
  environments: 0,
  data: [],
  ...over,
});
const capacity = (over: Partial<Capacity> = {}): Capacity => ({
  bytes: 100,
  hosts: [
    { memory: 10, disk: 10, environments: 10 },
    { memory: 10, disk: 10, environments: 10 },
  ],
  ...over,
});

const anyItem = fc.record({
  host: fc.nat(1),
  group: fc.constantFrom("a", "b", "c"),
  limit: fc.constant(2),
  gain: fc.double({ min: 0.01, max: 10, noNaN: true }),
  memory: fc.nat(12),
  environments: fc.nat(1),
  data: fc.array(
    fc.record({ key: fc.constantFrom("x", "y", "z"), disk: fc.constant(4), bytes: fc.constant(3) }),
    { maxLength: 1 },
  ),
});
const anyCapacity = fc.record({
  bytes: fc.nat(8),
  hosts: fc.tuple(
    fc.record({ memory: fc.nat(20), disk: fc.nat(12), environments: fc.nat(3) }),
    fc.record({ memory: fc.nat(20), disk: fc.nat(12), environments: fc.nat(3) }),
  ),
});

describe("limits", () => {
  test("selection: keeps every limit (any items, any limits)", () => {
    fc.assert(
      fc.property(fc.array(anyItem, { maxLength: 30 }), anyCapacity, (items, limits) => {
        expect(withinLimits(items, limits, [...select(items, limits).taken])).toBe(true);
      }),
    );
  });

  test("selection: leaves nothing out that still fits (any items, any limits)", () => {
    fc.assert(
      fc.property(fc.array(anyItem, { maxLength: 20 }), anyCapacity, (items, limits) => {
        const chosen = select(items, limits);
        items.forEach((_, i) => {
          if (!chosen.taken.has(i)) expect(chosen.groupFull(i) || !chosen.fits(i)).toBe(true);
        });
      }),
    );
  });

  test("selection: charges data of one host once (two items, one artifact)", () => {
    const data = [{ key: "x", disk: 10, bytes: 100 }];
    expect(select([item({ data }), item({ data })], capacity()).taken.size).toBe(2);
    const elsewhere = item({ data, host: 1 });
    expect(select([item({ data }), elsewhere], capacity()).taken.size).toBe(1);
  });

  test("selection: taking and releasing leaves no trace (any items)", () => {
    fc.assert(
      fc.property(fc.array(anyItem, { maxLength: 10 }), (items) => {
        const selection = new Selection(items, capacity());
        items.forEach((_, i) => {
          selection.take(i);
        });
        items.forEach((_, i) => {
          selection.release(i);
        });
        expect(selection.remaining()).toEqual(capacity());
        expect(selection.gain).toBeCloseTo(0, 9);
      }),
    );
  });
});

test("selection: prefers one big gain to many small ones in its way (memory for one)", () => {
  const small = [0, 1].map((n) => item({ group: `s${n}`, gain: 1.1, memory: 1 }));
  const big = item({ group: "big", gain: 10, memory: 10 });
  const chosen = select([...small, big], capacity());
  expect([...chosen.taken]).toEqual([2]);
});

test("selection: at least half of the best, mostly the best (brute force on tiny fleets)", () => {
  const random = seededRandom("tiny fleets");
  let equal = 0;
  let worst = 1;
  const runs = 3000;
  for (let run = 0; run < runs; run++) {
    const items = Array.from({ length: 1 + random.int(9) }, () =>
      item({
        host: random.int(2),
        group: "abc"[random.int(3)] ?? "a",
        limit: 1 + random.int(2),
        gain: 10 ** (random.next() * 3 - 1.5),
        memory: random.int(13),
        environments: random.int(2),
        data: random.next() < 0.6 ? [{ key: "xyz"[random.int(3)] ?? "x", disk: 4, bytes: 3 }] : [],
      }),
    );
    // One limit per group, as the planner has it.
    const limits = new Map<string, number>();
    const fair = items.map((one) => {
      const limit = limits.get(one.group) ?? one.limit;
      limits.set(one.group, limit);
      return { ...one, limit };
    });
    const room: Capacity = {
      bytes: random.int(10),
      hosts: [0, 1].map(() => ({
        memory: random.int(25),
        disk: random.int(13),
        environments: random.int(4),
      })),
    };
    const best = bruteForce(fair, room);
    const ratio = best === 0 ? 1 : select(fair, room).gain / best;
    worst = Math.min(worst, ratio);
    if (ratio > 1 - 1e-9) equal++;
  }
  process.stdout.write(
    `selection against brute force: best in ${equal} of ${runs}, worst ratio ${worst.toFixed(3)}\n`,
  );
  expect(worst).toBeGreaterThanOrEqual(0.5);
  expect(equal / runs).toBeGreaterThan(0.9);
});

function bruteForce(items: readonly Item[], limits: Capacity): number {
  let best = 0;
  for (let mask = 0; mask < 1 << items.length; mask++) {
    const chosen = items.map((_, i) => i).filter((i) => mask & (1 << i));
    const gain = chosen.reduce((sum, i) => sum + (items[i]?.gain ?? 0), 0);
    if (gain > best && withinLimits(items, limits, chosen)) best = gain;
  }
  return best;
}

/** The limits once more, written without the selection's bookkeeping. */
function withinLimits(items: readonly Item[], limits: Capacity, chosen: readonly number[]) {
  const all = chosen.flatMap((i) => items[i] ?? []);
  const groups = Map.groupBy(all, (one) => one.group);
  for (const members of groups.values())
    if (members.length > Math.max(...members.map((one) => one.limit))) return false;
  let bytes = 0;
  for (const [h, host] of limits.hosts.entries()) {
    const here = all.filter((one) => one.host === h);
    const data = new Map(here.flatMap((one) => one.data.map((share) => [share.key, share])));
    const disk = [...data.values()].reduce((sum, share) => sum + share.disk, 0);
    bytes += [...data.values()].reduce((sum, share) => sum + share.bytes, 0);
    const memory = here.reduce((sum, one) => sum + one.memory, 0);
    const environments = here.reduce((sum, one) => sum + one.environments, 0);
    if (disk > host.disk || memory > host.memory || environments > host.environments) return false;
  }
  return bytes <= limits.bytes;
}

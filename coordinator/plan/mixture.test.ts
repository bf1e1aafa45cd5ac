import fc from "fast-check";
import { expect, test } from "vitest";
import { type Random, seededRandom } from "../../shared/runtime/random.ts";
import { carried, type Economics } from "./decide.ts";
import { IdleTimes, KEEP_ALIVES } from "./keep-alive.ts";
import { EXPERT_NAMES, Mixture, votesOf } from "./mixture.ts";
import { Prewarm, viewOf } from "./prewarm.ts";
import { ABSENT, decided, passed } from "./price-scale.ts";

const ECONOMICS: Economics = { missCost: 1, holdCost: 0.01, startCost: 0.1, leadMinutes: 1 };
const flat = (hazard: number) => new Array<number>(120).fill(hazard);

type Category = { key: string; counts: number[]; hazard: (idle: number) => number[] };

/** Minutes the prewarm policy costs on categories, each seen from its first arrival on. */
function costOf(categories: readonly Category[], e: Economics, prewarm = new Prewarm()): number {
  const minutes = categories[0]?.counts.length ?? 0;
  const state = categories.map(() => ({ until: ABSENT, last: -1, idle: new IdleTimes() }));
  let cost = 0;
  for (let minute = 0; minute < minutes; minute++) {
    categories.forEach(({ key, counts, hazard }, i) => {
      const own = state[i];
      const arrived = (counts[minute] ?? 0) > 0;
      if (!own) return;
      if (own.last >= 0) {
        const idleMinutes = minute - own.last;
        const hazardPerMinute = hazard(idleMinutes);
        const view = viewOf(hazardPerMinute, idleMinutes, own.idle, e.leadMinutes);
        const before = own.until;
        const known = prewarm.category(key);
        const want = before > 0 || prewarm.wants(known, view, e, before === 0);
        own.until = decided(before, want, e.leadMinutes);
        if (before < 0 && own.until >= 0) cost += e.startCost;
        if (arrived && own.until !== 0) cost += e.missCost;
        if (!arrived && own.until >= 0) cost += e.holdCost;
        prewarm.settle(known, view, e, arrived);
      }
      if (arrived && own.last >= 0) own.idle.learn(minute - own.last);
      own.until = passed(own.until, arrived, e.leadMinutes);
      if (arrived) own.last = minute;
    });
    prewarm.endMinute();
  }
  return cost;
}

/** What always keeping for `keep` minutes costs, from the first arrival on. */
function fixedCost({ counts }: Category, keep: number, e: Economics): number {
  let cost = 0;
  let last = -1;
  counts.forEach((count, minute) => {
    const held = last >= 0 && minute - last <= keep;
    if (last >= 0 && count > 0 && !held) cost += e.missCost;
    if (count === 0 && held) cost += e.holdCost;
    if (count > 0) last = minute;
  });
  return cost;
}

function gaps(random: Random, minutes: number, gap: () => number): number[] {
  const counts = new Array<number>(minutes).fill(0);
  for (let at = random.int(30); at < minutes; at += Math.max(1, Math.round(gap()))) counts[at] = 1;
  return counts;
}

/** Mixes of timers, bursts and chance; the hazard the program gets is wrong on purpose. */
function generated(seed: string, wrong: (idle: number) => number[], size = 12): Category[] {
  const random = seededRandom(seed);
  return Array.from({ length: size }, (_, i) => {
    const mean = 2 + random.int(60);
    const shapes = [
      () => mean,
      () => -Math.log(1 - random.next()) * mean,
      () => (random.next() < 0.8 ? 1 + random.int(4) : mean * 2),
    ];
    const gap = shapes[i % shapes.length] ?? (() => mean);
    return { key: `w/${i}`, counts: gaps(random, 1440, gap), hazard: wrong };
  });
}

test("mixture: never much worse than the best keep-alive (hazards that are plainly wrong)", () => {
  const wrongs = [() => flat(0), () => flat(0.5), (idle: number) => flat(idle < 3 ? 0 : 0.02)];
  for (const [w, wrong] of wrongs.entries())
    for (const holdCost of [0.005, 0.02, 0.05]) {
      const e = { ...ECONOMICS, holdCost };
      const categories = generated(`seed ${w}`, wrong);
      const best = Math.min(
        ...KEEP_ALIVES.map((keep) =>
          categories.reduce((sum, one) => sum + fixedCost(one, keep, e), 0),
        ),
      );
      // 1.1 times the best, and some cold minutes a category to find out.
      expect(costOf(categories, e)).toBeLessThan(1.1 * best + 4 * categories.length);
    }
});

test("mixture: what others taught serves a new category (after a day of twenty alike)", () => {
  const e = { ...ECONOMICS, holdCost: 0.2 };
  const prewarm = new Prewarm();
  costOf(
    generated("teachers", () => flat(0.9), 20),
    e,
    prewarm,
  );
  const view = viewOf(flat(0.9), 200, new IdleTimes(), e.leadMinutes);
  const other = new Prewarm();
  expect(other.wants(other.category("w/new"), view, e, true)).toBe(true);
  expect(prewarm.wants(prewarm.category("w/new"), view, e, true)).toBe(false);
});

test("mixture: who has a say is told of one never seen, which is not kept for that", () => {
  const prewarm = new Prewarm();
  const votes = votesOf(500, 1, new IdleTimes());
  const support = prewarm.support("w/c", votes);
  expect(prewarm.state().categories).toEqual({});
  prewarm.category("w/c");
  expect(prewarm.support("w/c", votes)).toEqual(support);
});

test("mixture: the program decides alone before anything was seen", () => {
  const mixture = new Mixture();
  const category = mixture.category("w/c");
  const support = mixture.support(category, votesOf(500, 1, new IdleTimes()));
  expect(support.program).toBeGreaterThan(0.5);
  const weights = mixture.weights(category);
  expect(weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
  expect(weights).toHaveLength(EXPERT_NAMES.length);
});

const minutes = fc.array(fc.boolean(), { maxLength: 60 });

test("mixture: the short answer is that of the weights (any arrivals, votes and prices)", () => {
  const price = fc.constantFrom(0.005, 0.1, 2);
  fc.assert(
    fc.property(minutes, price, fc.nat(), (arrivals, holdCost, votes) => {
      const mixture = new Mixture();
      const category = mixture.category("w/c");
      const economics = { ...ECONOMICS, holdCost };
      let idle = 0;
      for (const [i, arrived] of arrivals.entries()) {
        const asked = votesOf(++idle, 1, new IdleTimes());
        const program = { acts: () => (votes + i) % 3 === 0 };
        mixture.settle(category, { arrived, votes: asked, economics, program });
        mixture.endMinute();
        if (arrived) idle = 0;
        for (const some of [asked, (votes << 1) & (2 ** EXPERT_NAMES.length - 1)])
          for (const acts of [true, false])
            expect(mixture.carries(category, acts, some)).toBe(
              carried(acts, mixture.support(category, some)),
            );
      }
    }),
  );
});

test("mixture: one that is restored weighs as before (any arrivals)", () => {
  fc.assert(
    fc.property(minutes, (arrivals) => {
      const mixture = new Mixture();
      let idleMinutes = 0;
      for (const arrived of arrivals) {
        idleMinutes++;
        const program = { acts: () => false };
        const votes = votesOf(idleMinutes, 1, new IdleTimes());
        const minute = { arrived, votes, economics: ECONOMICS, program };
        mixture.settle(mixture.category("w/c"), minute);
        mixture.endMinute();
        if (arrived) idleMinutes = 0;
      }
      const other = new Mixture();
      other.restore(JSON.parse(JSON.stringify(mixture.state())));
      const restored = [...other.weights(other.category("w/c"))];
      const before = [...mixture.weights(mixture.category("w/c"))];
      for (const [e, weight] of before.entries()) expect(restored[e]).toBeCloseTo(weight, 2);
    }),
  );
});

test("mixture: the order of categories within a minute does not matter (any two)", () => {
  fc.assert(
    fc.property(minutes, minutes, (a, b) => {
      const run = (order: [string, boolean[]][]) => {
        const mixture = new Mixture();
        for (let i = 0; i < Math.max(a.length, b.length); i++) {
          for (const [key, arrivals] of order) {
            const arrived = arrivals[i] ?? false;
            const program = { acts: () => true };
            const votes = votesOf(i + 1, 1, new IdleTimes());
            const minute = { arrived, votes, economics: ECONOMICS, program };
            mixture.settle(mixture.category(key), minute);
          }
          mixture.endMinute();
        }
        return [...mixture.weights(mixture.category("a"))];
      };
      const there = run([
        ["a", a],
        ["b", b],
      ]);
      const back = run([
        ["b", b],
        ["a", a],
      ]);
      there.forEach((weight, e) => {
        expect(back[e]).toBeCloseTo(weight, 9);
      });
    }),
  );
});

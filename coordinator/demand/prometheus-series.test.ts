import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Labels, PromCounts, type PromKind, type PromSeries } from "./prometheus-series.ts";

const MINUTE = 60_000;
const LABELS = { job: "j", instance: "a:1" };

/** Points from minute `from` on, a minute apart; null where there is none. */
function series(values: readonly (number | string | null)[], from = 0, metric: Labels = LABELS) {
  const points = values.flatMap((value, i) =>
    value === null ? [] : [[(from + i) * 60, String(value)] as [number, string]],
  );
  return { metric, values: points };
}

function count(kind: PromKind, chunks: readonly PromSeries[][], stepMs = MINUTE) {
  const counts = new PromCounts(kind, stepMs);
  const minutes: [number, number][] = [];
  for (const chunk of chunks) {
    counts.seen(chunk);
    for (const one of chunk)
      for (const { startMs, count } of counts.count(one)) minutes.push([startMs / MINUTE, count]);
  }
  return { minutes, bad: counts.bad };
}

describe("prometheus: counters", () => {
  test.each([
    [
      "what is added is of the minute before",
      [5, 8, 8, 9],
      [
        [0, 3],
        [2, 1],
      ],
    ],
    [
      "a restart: all it shows was added since",
      [5, 8, 2, 4],
      [
        [0, 3],
        [1, 2],
        [2, 2],
      ],
    ],
    ["a restart at once at zero", [5, 0, 0, 4], [[2, 4]]],
    [
      "a gap: over its minutes, whole",
      [5, null, null, 12],
      [
        [0, 2],
        [1, 2],
        [2, 3],
      ],
    ],
    [
      "points that are no number",
      [5, "NaN", 8, "+Inf", -1, 9],
      [
        [0, 1],
        [1, 2],
        [4, 1],
      ],
    ],
    ["one point", [1e6], []],
  ])("%s", (_, values, expected) => {
    expect(count("counter", [[series(values)]]).minutes.sort()).toEqual(expected);
  });

  test("a counter that is born counts where its target was seen without it, else not", () => {
    const old = series([1, 1, 1]);
    const born = series([7, 9], 1, { ...LABELS, route: "new" });
    expect(count("counter", [[born, old]]).minutes).toEqual([
      [0, 7],
      [1, 2],
    ]);
    const elsewhere = series([7, 9], 1, { job: "j", instance: "b:1" });
    expect(count("counter", [[old, elsewhere]]).minutes).toEqual([[1, 2]]);
    const summed = series([7, 9], 1, {});
    expect(count("counter", [[series([1, 1], 0, { x: "y" }), summed]]).minutes).toEqual([[1, 2]]);
  });

  test("points that are no count are counted", () => {
    expect(count("counter", [[series([1, "NaN", -2, "+Inf", "x"])]]).bad).toBe(4);
  });

  test("chunks do not matter (any counter, any cuts)", () => {
    const values = fc.array(fc.option(fc.nat(1000), { freq: 6 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(values, fc.array(fc.nat(40), { maxLength: 5 }), (all, cuts) => {
        const ends = [...new Set([...cuts.filter((c) => c < all.length), all.length])].sort(
          (a, b) => a - b,
        );
        let from = 0;
        const chunks = ends.map((end) => {
          const chunk = [series(all.slice(from, end), from)];
          from = end;
          return chunk;
        });
        expect(count("counter", chunks)).toEqual(count("counter", [[series(all)]]));
      }),
    );
  });

  test("every request that was added is counted once (any restarts and gaps)", () => {
    const step = fc.record({ added: fc.nat(20), restart: fc.boolean(), seen: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let value = 500;
        let last = 500;
        let expected = 0;
        const values: (number | null)[] = [500];
        for (const { added, restart, seen } of steps) {
          value = restart ? added : value + added;
          values.push(seen ? value : null);
          if (!seen) continue;
          expected += value < last ? value : value - last;
          last = value;
        }
        const { minutes } = count("counter", [[series(values)]]);
        expect(minutes.reduce((sum, [, n]) => sum + n, 0)).toBe(expected);
      }),
    );
  });
});

describe("prometheus: gauges and rates", () => {
  test("a gauge is the requests of the step that ends there", () => {
    expect(count("gauge", [[series([2, 0, 5], 1)]]).minutes).toEqual([
      [0, 2],
      [2, 5],
    ]);
    const fives = { metric: LABELS, values: [[600, "11"]] as [number, string][] };
    expect(count("gauge", [[fives]], 5 * MINUTE).minutes).toEqual([
      ...[5, 6, 7, 8].map((minute) => [minute, 2]),
      [9, 3],
    ]);
  });

  test("a rate times its step; parts of a request fall by chance, the same each time", () => {
    const values = Array.from({ length: 3000 }, () => 0.005);
    const { minutes } = count("rate", [[series(values)]]);
    const total = minutes.reduce((sum, [, n]) => sum + n, 0);
    expect(total / (3000 * 0.3)).toBeGreaterThan(0.9);
    expect(total / (3000 * 0.3)).toBeLessThan(1.1);
    const half = values.slice(1500);
    expect(count("rate", [[series(half, 1500)]]).minutes).toEqual(
      minutes.filter(([minute]) => minute >= 1499),
    );
  });
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { QUANTILE_LEVELS } from "../../shared/domain.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { DemandHistory } from "../demand/history.ts";
import { Forecaster } from "./forecaster.ts";

const MINUTE = 60_000;
/** A Monday, some minutes after midnight UTC. */
const START = Math.floor(Date.UTC(2024, 2, 4) / MINUTE);

type Arrival = { category: string; minute: number; count: number };

function historyOf(arrivals: readonly Arrival[]): DemandHistory {
  const history = new DemandHistory();
  for (const arrival of arrivals) add(history, arrival);
  return history;
}
function add(history: DemandHistory, { category, minute, count }: Arrival): void {
  const startMs = (START + minute) * MINUTE;
  history.add({ workload: "w", category, host: "a", startMs, count });
}
const at = (minute: number) => (START + minute) * MINUTE;
const every = (category: string, period: number, to: number, phase = 0): Arrival[] =>
  Array.from({ length: Math.floor((to - phase) / period) }, (_, i) => ({
    category,
    minute: phase + i * period,
    count: 1,
  }));

const arrivals = fc.array(
  fc.record({
    category: fc.constantFrom("x", "y", "z"),
    minute: fc.nat(400),
    count: fc.integer({ min: 1, max: 50 }),
  }),
  { maxLength: 60 },
);

function answers(forecaster: Forecaster, nowMs: number) {
  return ["x", "y", "z", "never"].map((category) => {
    const { hazardPerMinute, lastArrivalMs } = forecaster.arrival("w", category, nowMs);
    return {
      hazardPerMinute,
      lastArrivalMs,
      ...forecaster.forecast("w", category, null, nowMs, 70),
    };
  });
}

test("forecaster: what comes later changes nothing (any prefix of any history)", () => {
  fc.assert(
    fc.property(arrivals, fc.nat(400), (rows, cut) => {
      const [whole, prefix] = [new Forecaster(), new Forecaster()];
      const past = historyOf(rows.filter(({ minute }) => minute <= cut));
      for (const now of [Math.floor(cut / 2), cut]) {
        const seen = historyOf(rows.filter(({ minute }) => minute <= now));
        whole.update(historyOf(rows), at(now));
        prefix.update(now === cut ? past : seen, at(now));
      }
      expect(answers(whole, at(cut))).toEqual(answers(prefix, at(cut)));
    }),
    { numRuns: 30 },
  );
});

test("forecaster: one long step learns what many short ones do", () => {
  fc.assert(
    fc.property(arrivals, (rows) => {
      const history = historyOf(rows);
      const [once, often] = [new Forecaster(), new Forecaster()];
      for (let minute = 0; minute <= 420; minute += 7) often.update(history, at(minute));
      once.update(history, at(420));
      for (const category of ["x", "y", "z"]) {
        expect(once.arrival("w", category, at(420)).hazardPerMinute).toEqual(
          often.arrival("w", category, at(420)).hazardPerMinute,
        );
      }
    }),
    { numRuns: 20 },
  );
});

test("forecaster: quantiles rise and are not negative, probabilities are in 0..1", () => {
  fc.assert(
    fc.property(arrivals, (rows) => {
      const forecaster = new Forecaster();
      const history = historyOf(rows);
      for (let minute = 60; minute <= 420; minute += 20) forecaster.update(history, at(minute));
      for (const { quantiles, arrivalProbability, mix } of answers(forecaster, at(420))) {
        for (const levels of quantiles) {
          expect(levels).toHaveLength(QUANTILE_LEVELS.length);
          expect(levels[0]).toBeGreaterThanOrEqual(0);
          for (const [i, quantile] of levels.entries()) {
            expect(Number.isFinite(quantile)).toBe(true);
            expect(quantile).toBeGreaterThanOrEqual(levels[i - 1] ?? 0);
          }
        }
        for (const probability of arrivalProbability) {
          expect(probability).toBeGreaterThanOrEqual(0);
          expect(probability).toBeLessThanOrEqual(1);
        }
        const shares = Object.values(mix);
        if (shares.length > 0) expect(shares.reduce((a, b) => a + b)).toBeCloseTo(1);
      }
    }),
    { numRuns: 20 },
  );
});

test("forecaster: the probability of an arrival rises with the horizon, from 0 to at most 1", () => {
  fc.assert(
    fc.property(arrivals, fc.integer({ min: 0, max: MINUTE }), (rows, offset) => {
      const forecaster = new Forecaster();
      forecaster.update(historyOf(rows), at(400));
      const { probabilityWithin, hazardPerMinute } = forecaster.arrival("w", "x", at(400) + offset);
      expect(hazardPerMinute).toHaveLength(120);
      expect(probabilityWithin(0)).toBe(0);
      let before = 0;
      for (let ms = 0; ms < 300 * MINUTE; ms += 17_000) {
        const probability = probabilityWithin(ms);
        expect(probability).toBeGreaterThanOrEqual(before);
        before = probability;
      }
      expect(before).toBeLessThanOrEqual(1);
    }),
    { numRuns: 20 },
  );
});

test("forecaster: goes on from its saved state as if it had not stopped", () => {
  fc.assert(
    fc.property(arrivals, (rows) => {
      const stays = new Forecaster();
      const history = historyOf(rows);
      for (let minute = 0; minute <= 300; minute += 10) stays.update(history, at(minute));
      const restored = new Forecaster();
      restored.restore(JSON.parse(JSON.stringify(stays.state())));
      for (const forecaster of [stays, restored]) {
        for (let minute = 300; minute <= 420; minute += 10) forecaster.update(history, at(minute));
      }
      expect(answers(restored, at(420))).toEqual(answers(stays, at(420)));
      expect(restored.state()).toEqual(stays.state());
      expect(restored.calibration()).toEqual(stays.calibration());
    }),
    { numRuns: 20 },
  );
});

test.each([5, 15, 20, 30, 47])(
  "forecaster: a timer is expected when it is due (every %i min)",
  (period) => {
    const forecaster = new Forecaster();
    const end = 23 * period + 3;
    forecaster.update(historyOf(every("x", period, end + period)), at(end));
    const { hazardPerMinute, lastArrivalMs } = forecaster.arrival("w", "x", at(end));
    expect(lastArrivalMs).toBe(at(23 * period));
    const dueIn = hazardPerMinute[period - 3] ?? 0;
    expect(dueIn).toBeGreaterThan(0.5);
    const others = hazardPerMinute.slice(0, period - 3);
    expect(Math.max(...others)).toBeLessThan(0.1);
  },
);

test("forecaster: two timers in one category are both seen (every 20 and every 30 minutes)", () => {
  const forecaster = new Forecaster();
  const rows = [...every("x", 20, 960, 3), ...every("x", 30, 960, 11)];
  forecaster.update(historyOf(rows), at(960));
  const { hazardPerMinute } = forecaster.arrival("w", "x", at(960));
  // 960 is a multiple of both: due 3 and 11 minutes later, nothing between.
  expect(hazardPerMinute[3]).toBeGreaterThan(0.3);
  expect(hazardPerMinute[11]).toBeGreaterThan(0.2);
  expect(hazardPerMinute[7]).toBeLessThan(0.1);
});

test("forecaster: a category seen once starts from what the others taught", () => {
  const arrivalsOf = (gap: number) => {
    const rows = Array.from({ length: 30 }, (_, i) => every(`c${i}`, gap, 900, i % gap)).flat();
    const forecaster = new Forecaster();
    forecaster.update(historyOf([...rows, { category: "x", minute: 899, count: 1 }]), at(902));
    return forecaster.arrival("w", "x", at(902)).probabilityWithin(15 * MINUTE);
  };
  expect(arrivalsOf(4)).toBeGreaterThan(2 * arrivalsOf(90));
});

test("forecaster: an arrival counts at once, before it has settled (minute under way)", () => {
  const forecaster = new Forecaster();
  const history = historyOf(every("x", 40, 400));
  forecaster.update(history, at(410));
  const before = forecaster.arrival("w", "x", at(410));
  add(history, { category: "x", minute: 410, count: 1 });
  add(history, { category: "new", minute: 410, count: 1 });
  forecaster.update(history, at(410) + 30_000);
  const after = forecaster.arrival("w", "x", at(410) + 30_000);
  expect(before.lastArrivalMs).toBe(at(360));
  expect(after.lastArrivalMs).toBe(at(410));
  expect(forecaster.arrival("w", "new", at(411)).lastArrivalMs).toBe(at(410));
});

test("forecaster: a report that came after its minute had settled still counts", () => {
  const forecaster = new Forecaster();
  const history = historyOf(every("x", 40, 400));
  forecaster.update(history, at(410));
  add(history, { category: "x", minute: 402, count: 1 });
  forecaster.update(history, at(411));
  expect(forecaster.arrival("w", "x", at(411)).lastArrivalMs).toBe(at(402));
});

test("forecaster: a category that is gone from the history is forgotten", () => {
  const forecaster = new Forecaster();
  forecaster.update(historyOf([...every("x", 10, 400), ...every("y", 10, 400)]), at(400));
  forecaster.update(historyOf(every("y", 10, 400)), at(401));
  expect(forecaster.arrival("w", "x", at(401)).lastArrivalMs).toBeNull();
  expect(forecaster.state().arrivals.tracks).toHaveLength(1);
});

test("forecaster: nine in ten counts fall into the 90 % interval (busy, daily curve)", () => {
  const random = seededRandom("coverage");
  const forecaster = new Forecaster();
  const history = new DemandHistory();
  for (let minute = 0; minute < 2 * 1440; minute++) {
    forecaster.update(history, at(minute));
    const rate = 30 + 20 * Math.sin((2 * Math.PI * minute) / 1440);
    for (const category of ["x", "y"]) {
      const count = Math.max(0, Math.round(rate + Math.sqrt(2 * rate) * random.normal()));
      if (count > 0) add(history, { category, minute, count });
    }
  }
  const { coverage90, pinball, samples } = forecaster.calibration();
  expect(samples).toBeGreaterThan(500);
  expect(coverage90).toBeGreaterThan(0.86);
  expect(coverage90).toBeLessThan(0.97);
  expect(pinball).toBeLessThan(0.1);
});

test("forecaster: a host's forecast is its part of the whole", () => {
  const forecaster = new Forecaster();
  const history = new DemandHistory();
  for (let minute = 0; minute < 300; minute++) {
    const startMs = at(minute);
    history.add({ workload: "w", category: "x", host: "a", startMs, count: 30 });
    history.add({ workload: "w", category: "x", host: "b", startMs, count: 10 });
  }
  forecaster.update(history, at(300));
  const median = (host: string | null) =>
    forecaster.forecast("w", "x", host, at(300), 5).quantiles[0]?.[3] ?? 0;
  expect(median(null)).toBeCloseTo(40, -1);
  expect(median("b")).toBeGreaterThan(5);
  expect(median("b")).toBeLessThan(15);
});

test("forecaster: a category never seen may be like any of its workload, at once", () => {
  const forecaster = new Forecaster();
  const history = new DemandHistory();
  const random = seededRandom("siblings");
  for (let minute = 0; minute < 600; minute++) {
    add(history, { category: "x", minute, count: 9 + random.int(3) });
    add(history, { category: "y", minute, count: 90 + random.int(20) });
  }
  forecaster.update(history, at(600));
  const { quantiles } = forecaster.forecast("w", "never", null, at(600), 5);
  expect(quantiles[0]?.[0]).toBeGreaterThan(5);
  expect(quantiles[0]?.[0]).toBeLessThan(15);
  expect(quantiles[0]?.at(-1)).toBeGreaterThan(80);
  expect(quantiles[0]?.at(-1)).toBeLessThan(130);
  const stranger = forecaster.forecast("v", "never", null, at(600), 5);
  expect(stranger.quantiles[0]).toEqual([0, 0, 0, 0, 0, 0, 0]);
});

test("forecaster: a category that was silent for days is none that was never seen", () => {
  const forecaster = new Forecaster();
  const history = new DemandHistory();
  const now = 4 * 1440;
  add(history, { category: "x", minute: 0, count: 50 });
  for (let minute = 0; minute < now; minute++) add(history, { category: "y", minute, count: 90 });
  forecaster.update(history, at(now));
  const { quantiles } = forecaster.forecast("w", "x", null, at(now), 5);
  expect(quantiles.flat().every((quantile) => quantile === 0)).toBe(true);
});

test("forecaster: after an hour a new category's forecast has the others' shape (steep rise)", () => {
  const days = 4 * 1440;
  const now = days + 660;
  const rate = (minute: number) => 40 * (1.01 - Math.cos((2 * Math.PI * (minute - 300)) / 1440));
  const medianOf = (others: readonly string[]) => {
    const random = seededRandom("day one");
    const draw = (mean: number) =>
      Math.max(0, Math.round(mean + Math.sqrt(mean) * random.normal()));
    const forecaster = new Forecaster();
    const history = new DemandHistory();
    for (let minute = 0; minute < now; minute++) {
      for (const category of others) add(history, { category, minute, count: draw(rate(minute)) });
      if (minute >= now - 60)
        add(history, { category: "new", minute, count: draw(4 * rate(minute)) });
    }
    for (let minute = now - 100; minute <= now; minute++) forecaster.update(history, at(minute));
    return forecaster.forecast("w", "new", null, at(now), 60).quantiles[59]?.[3] ?? 0;
  };
  const truth = 4 * rate(now + 59);
  const off = (median: number) => Math.abs(median - truth) / truth;
  expect(off(medianOf(["x", "y"]))).toBeLessThan(0.8 * off(medianOf([])));
});

test("forecaster: ×3 from one minute on: one alarm, and nine in ten inside after two seasons", () => {
  const random = seededRandom("step");
  const forecaster = new Forecaster();
  const history = new DemandHistory();
  const [step, days] = [4 * 1440 + 600, 7 * 1440];
  const counts = Array.from({ length: days + 60 }, (_, minute) => {
    const mean = 30 * (1 + 0.5 * Math.sin((2 * Math.PI * minute) / 1440)) * (minute < step ? 1 : 3);
    return Math.max(0, Math.round(mean + Math.sqrt(1.5 * mean) * random.normal()));
  });
  let [inside, bins] = [0, 0];
  for (let minute = 0; minute < days; minute++) {
    if (minute > 4 * 1440) forecaster.update(history, at(minute));
    if (minute > step + 2880 && minute % 20 === 0) {
      const { quantiles } = forecaster.forecast("w", "x", null, at(minute), 60);
      for (const [i, levels] of quantiles.entries()) {
        const count = counts[minute + i] ?? 0;
        if (count >= (levels[0] ?? 0) && count <= (levels.at(-1) ?? 0)) inside++;
        bins++;
      }
    }
    add(history, { category: "x", minute, count: counts[minute] ?? 0 });
  }
  expect(inside / bins).toBeGreaterThan(0.85);
  expect(inside / bins).toBeLessThan(0.95);
  const { scores, driftsMs, ensemble } = forecaster.watched({ workload: "w", category: "x" });
  expect(forecaster.counts().alarms).toBe(1);
  expect(driftsMs.map((ms) => Math.round((ms - at(step)) / MINUTE / 60))).toEqual([0]);
  expect(scores?.relativeLoss).toBeLessThan(0.9);
  expect(Object.values(ensemble).reduce((a, b) => a + b, 0)).toBeCloseTo(1);
}, 60_000);

test("forecaster: the days of a week are told apart after two, and a restart changes nothing", () => {
  const history = new DemandHistory();
  const day = 1440;
  const now = 20 * day + 700; // a Sunday, about noon
  const rate = (minute: number) => (Math.floor(minute / day) % 7 === 6 ? 40 : 100);
  const stays = new Forecaster();
  for (let minute = 0; minute < now; minute++) {
    add(history, { category: "x", minute, count: rate(minute) + (minute % 7) });
    if (minute > now - 2 * day && minute % 60 === 0) {
      history.prune(at(minute - 400 * day));
      stays.update(history, at(minute));
    }
  }
  const anew = new Forecaster();
  expect(anew.restore(structuredClone(stays.state()))).toBe(true);
  stays.update(history, at(now));
  anew.update(history, at(now));
  const of = (forecaster: Forecaster) => forecaster.forecast("w", "x", null, at(now), day);
  expect(of(anew)).toEqual(of(stays));
  const noonOf = of(stays).quantiles[day - 1]?.[QUANTILE_LEVELS.indexOf(0.5)] ?? 0;
  expect(noonOf).toBeGreaterThan(85);
});

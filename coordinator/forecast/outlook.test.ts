import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { DemandHistory } from "../demand/history.ts";
import { Forecaster } from "./forecaster.ts";
import { LEVELS } from "./levels.ts";

const MINUTE_MS = 60_000;
const startMs = Date.UTC(2026, 10, 27);
const MINUTES = 1_200;
const random = seededRandom("outlook");
const counts = Array.from({ length: MINUTES + 100 }, () => 20 + random.int(60));

/** What the mix is after some hours with an expert that says `quantile` of each bin. */
function shareOf(quantile: (minute: number, level: number) => number, reach: number) {
  const history = new DemandHistory();
  const forecaster = new Forecaster({
    outlook: (_, past) => {
      const minute = Math.round((past.startMs - startMs) / MINUTE_MS) + past.counts.length;
      const rows = Float64Array.from({ length: reach * LEVELS.length }, (_, i) =>
        quantile(minute + Math.floor(i / LEVELS.length), LEVELS[i % LEVELS.length] ?? 0),
      );
      return new Map([["stranger", rows]]);
    },
  });
  for (let minute = 0; minute < MINUTES; minute++) {
    forecaster.update(history, startMs + minute * MINUTE_MS);
    const count = counts[minute] ?? 0;
    const at = startMs + minute * MINUTE_MS;
    history.add({ workload: "w", category: "c", host: "h", startMs: at, count });
  }
  const now = startMs + MINUTES * MINUTE_MS;
  const share = (bins: number) => forecaster.forecast("w", "c", null, now, bins).mix.stranger ?? 0;
  return { near: share(3), far: share(40) };
}

describe("an expert from elsewhere", () => {
  test("takes over when it does better (one that knows)", () => {
    const { near, far } = shareOf((minute) => counts[minute] ?? 0, 60);
    expect(near).toBeGreaterThan(0.9);
    expect(far).toBeGreaterThan(0.9);
  });

  test("keeps next to no say when it does worse", () => {
    const { near, far } = shareOf((_, level) => 300 + 100 * level, 60);
    expect(near).toBeLessThan(0.001);
    expect(far).toBeLessThan(0.001);
  });

  test("learns nothing of bins that it does not speak of", () => {
    const { near, far } = shareOf((minute) => counts[minute] ?? 0, 12);
    expect(near).toBeGreaterThan(0.9);
    expect(far).toBeLessThan(0.02);
  });
});

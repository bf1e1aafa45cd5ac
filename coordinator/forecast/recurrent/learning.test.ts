import { describe, expect, test } from "vitest";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { seededRandom } from "../../../shared/runtime/random.ts";
import { LEVELS } from "../levels.ts";
import { RecurrentExpert } from "./expert.ts";
import { type Refresh, refreshNetwork } from "./learning.ts";
import { priorState } from "./prior.ts";
import { refreshInWorker } from "./refresh.ts";

const BIN_MS = 3_600_000;
const DAYS = 20;
const TRAINING = { steps: 150, rows: 48, learningRate: 0.01, aheadMax: 12 };

/** Daily waves of different sizes and phases, in whole counts. */
function waves(count: number, seed = "waves"): Float64Array[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => {
    const size = 10 ** (1 + 2 * random.next());
    const phase = random.next();
    return Float64Array.from({ length: DAYS * 24 }, (_, i) => {
      const mean = size * (1.2 + Math.sin(2 * Math.PI * (i / 24 + phase)));
      return Math.max(0, Math.round(mean + 0.5 * Math.sqrt(mean) * random.normal()));
    });
  });
}
const request = (seed: string, from: Refresh["from"] = null, training = TRAINING): Refresh => ({
  series: waves(8).map((counts) => ({
    startMs: 0,
    binMs: BIN_MS,
    counts: Float32Array.from(counts),
  })),
  from,
  training,
  seed,
});

function pinball(predicted: Float64Array, actual: Float64Array): number {
  let sum = 0;
  for (const [i, level] of LEVELS.entries())
    for (const [ahead, count] of actual.entries()) {
      const error = count - (predicted[ahead * LEVELS.length + i] ?? Number.NaN);
      sum += Math.max(level * error, (level - 1) * error);
    }
  return sum / LEVELS.length / actual.length;
}

function yesterday(counts: Float64Array, at: number): Float64Array {
  const day = counts.subarray(at - 24, at - 12);
  return Float64Array.from({ length: 12 * LEVELS.length }, (_, i) => {
    return day[Math.floor(i / LEVELS.length)] ?? 0;
  });
}

describe("the weights that the product comes with", () => {
  test("forecast waves they were not made for better than yesterday's values do", () => {
    const expert = new RecurrentExpert();
    expect(expert.use(priorState())).toBe(true);
    let ours = 0;
    let yesterdays = 0;
    for (const counts of waves(20, "prior")) {
      const at = counts.length - 12;
      const fitted = expert.fit({ startMs: 0, binMs: BIN_MS, counts: counts.subarray(0, at) });
      ours += pinball(fitted.predict(12), counts.subarray(at));
      yesterdays += pinball(yesterday(counts, at), counts.subarray(at));
    }
    expect(ours).toBeLessThan(0.8 * yesterdays);
  });
});

describe("learning", () => {
  test("forecasts series it has never seen better than yesterday's values do", async () => {
    const { network, loss, lossBefore } = await refreshNetwork(request("one"));
    expect(lossBefore).toBeNull();
    expect(loss).toBeLessThan(0.35);
    const expert = new RecurrentExpert();
    expect(expert.use({ weights: network ?? fail(), aheadMax: TRAINING.aheadMax })).toBe(true);
    let ours = 0;
    let yesterdays = 0;
    for (const counts of waves(5, "unseen")) {
      const at = counts.length - 12;
      const fitted = expert.fit({ startMs: 0, binMs: BIN_MS, counts: counts.subarray(0, at) });
      const actual = counts.subarray(at);
      ours += pinball(fitted.predict(12), actual);
      yesterdays += pinball(yesterday(counts, at), actual);
    }
    expect(ours).toBeLessThan(0.8 * yesterdays);
  }, 120_000);

  test("gives the same weights for the same seed, others for another, also in a worker", async () => {
    const short = { ...TRAINING, steps: 10 };
    const signal = new AbortController().signal;
    const [a, b, c, other] = await Promise.all([
      refreshNetwork(request("s", null, short)),
      refreshNetwork(request("s", null, short)),
      refreshInWorker(request("s", null, short), { clock: systemClock, signal }),
      refreshNetwork(request("t", null, short)),
    ]);
    expect(a.network).not.toBeNull();
    expect(b).toEqual(a);
    expect(c).toEqual(a);
    expect(other.network).not.toEqual(a.network);
  }, 120_000);

  test("keeps the weights in use when the new ones do worse (a wild learning rate)", async () => {
    const good = await refreshNetwork(request("one"));
    const wild = { ...TRAINING, steps: 20, learningRate: 3 };
    const again = await refreshNetwork(request("two", good.network, wild));
    expect(again.network).toBeNull();
    expect(again.loss).toBeGreaterThan(again.lossBefore ?? Number.NaN);
  }, 120_000);

  test("says nothing when there is nothing to learn from (silent and short series)", async () => {
    const series = [
      { startMs: 0, binMs: BIN_MS, counts: new Float32Array(500) },
      { startMs: 0, binMs: BIN_MS, counts: Float32Array.of(1, 2, 3) },
    ];
    const { network } = await refreshNetwork({ ...request("one"), series });
    expect(network).toBeNull();
  }, 120_000);

  test("ends when it is told to (an abort in the middle)", async () => {
    const controller = new AbortController();
    const long = { ...TRAINING, steps: 100_000 };
    const refresh = refreshInWorker(request("one", null, long), {
      clock: systemClock,
      signal: controller.signal,
    });
    controller.abort(new Error("stopped"));
    await expect(refresh).rejects.toThrow("stopped");
  }, 120_000);
});

function fail(): never {
  throw new Error("no network was learned");
}

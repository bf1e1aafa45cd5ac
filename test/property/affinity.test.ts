import fc from "fast-check";
import { expect, test } from "vitest";
import { AffinityScorer } from "../../agent/affinity/scorer.ts";
import { trainingRow } from "../../coordinator/affinity/rows.ts";
import { AffinityTrainer } from "../../coordinator/affinity/trainer.ts";
import { FEATURES, forward } from "../../shared/affinity.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { SimulatedClock } from "../support/clock.ts";

const vector = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
  minLength: FEATURES.length,
  maxLength: FEATURES.length,
});

test("an agent's score is the coordinator's to 1e-5 (trained, exported, loaded)", async () => {
  const random = seededRandom("affinity");
  const trainer = new AffinityTrainer({ random, log: silentLog });
  const sample = {
    cpuUsed: 0.5,
    memoryBytes: 8e9,
    memoryFreeBytes: 1e9,
    loopDelayMs: 20,
    requestsPerSecond: 100,
    diskFreeBytes: 1e9,
    peerBytesPerSecond: 1e6,
    originBytesPerSecond: 1e6,
  };
  const pair = { sample, demandShare: 1, heldShare: 1, warm: true, latencyRatio: 1, failures: 0 };
  const rows = Array.from({ length: 500 }, () =>
    trainingRow(pair, { latencyMs: 100 * random.next(), expectedMs: 50, failed: false }),
  );
  const { onnx, meta, parameters } = await trainer.train(rows);
  const scorer = new AffinityScorer({ clock: new SimulatedClock(), log: silentLog });
  await scorer.load(onnx, meta);
  await fc.assert(
    fc.asyncProperty(fc.array(vector, { maxLength: 30 }), async (features) => {
      const scores = await scorer.score(features);
      features.forEach((row, i) => {
        expect(Math.abs((scores[i] ?? Number.NaN) - forward(parameters, row))).toBeLessThan(1e-5);
        expect(trainer.score(row)).toBe(forward(parameters, row));
      });
    }),
  );
  await scorer.close();
  await trainer.close();
});

import { afterEach, describe, expect, test } from "vitest";
import { FEATURES, forward, priorGoodness } from "../../shared/affinity.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { priorRows, type TrainingRow } from "./prior.ts";
import { AffinityTrainer, TrainerState } from "./trainer.ts";

const open: AffinityTrainer[] = [];
function trainer(seed: number | string = 1): AffinityTrainer {
  const made = new AffinityTrainer({ random: seededRandom(seed), log: silentLog });
  open.push(made);
  return made;
}
afterEach(async () => {
  for (const made of open.splice(0)) await made.close();
});

/** A fleet in which, against the prior, only the share of bytes held matters. */
function heldMatters(count: number): TrainingRow[] {
  const random = seededRandom("held");
  const held = FEATURES.indexOf("heldShare");
  return Array.from({ length: count }, () => {
    const features = FEATURES.map(() => random.next());
    return { features, target: 0.1 + 0.8 * (features[held] ?? 0) };
  });
}

describe("training", () => {
  test("gives the prior when nothing was recorded yet", async () => {
    const { parameters, loss, lossBefore, version } = await trainer().train([]);
    expect(version).toBe(1);
    expect(loss).toBeLessThan(lossBefore / 5);
    expect(Math.sqrt(loss)).toBeLessThan(0.06);
    for (const row of priorRows(seededRandom("unseen"), 200))
      expect(
        Math.abs(forward(parameters, row.features) - priorGoodness(row.features)),
      ).toBeLessThan(0.3);
  });

  test("follows what was recorded (rows that contradict the prior)", async () => {
    const subject = trainer();
    await subject.train([]);
    const { promoted, loss, lossBefore } = await subject.train(heldMatters(2000));
    expect(promoted).toBe(true);
    expect(loss).toBeLessThan(lossBefore / 2);
    const held = FEATURES.indexOf("heldShare");
    const of = (share: number) => subject.score(FEATURES.map((_, i) => (i === held ? share : 0.5)));
    expect(of(1)).toBeGreaterThan(0.75);
    expect(of(0)).toBeLessThan(0.25);
  });

  test("gives the same network for the same seed, and another for another", async () => {
    const rows = heldMatters(50);
    const [a, b, c] = await Promise.all([
      trainer(5).train(rows),
      trainer(5).train(rows),
      trainer(6).train(rows),
    ]);
    expect(Buffer.compare(a.onnx, b.onnx)).toBe(0);
    expect(Buffer.compare(a.onnx, c.onnx)).not.toBe(0);
  });

  test("keeps the network in use when the new one does worse on unseen rows", async () => {
    const subject = new AffinityTrainer(
      { random: seededRandom(1), log: silentLog },
      { learningRate: 10, steps: 3 },
    );
    open.push(subject);
    const good = trainer(2);
    await good.train([]);
    expect(subject.restore(good.state())).toBe(true);
    const result = await subject.train([]);
    expect(result).toMatchObject({ promoted: false, version: 1 });
    expect(subject.state()).toEqual(good.state());
  });

  test("drops rows of another shape instead of learning from them", async () => {
    const bad = [
      { features: [1, 2], target: 0.5 },
      { features: FEATURES.map(() => Number.NaN), target: 0.5 },
      { features: FEATURES.map(() => 0.5), target: 7 },
    ];
    const { onnx } = await trainer(3).train(bad);
    expect(Buffer.compare(onnx, (await trainer(3).train([])).onnx)).toBe(0);
  });
});

describe("state", () => {
  test("comes back from JSON with the same scores and version", async () => {
    const subject = trainer();
    await subject.train([]);
    const other = trainer(99);
    expect(other.restore(TrainerState.parse(JSON.parse(JSON.stringify(subject.state()))))).toBe(
      true,
    );
    const features = FEATURES.map((_, i) => i / FEATURES.length);
    expect(other.score(features)).toBe(subject.score(features));
    expect(other.version).toBe(1);
  });

  test("of other features is refused", () => {
    const subject = trainer();
    const state = subject.state();
    expect(subject.restore({ ...state, features: ["weather"] })).toBe(false);
    expect(subject.restore({ ...state, network: state.network.slice(1) })).toBe(false);
  });
});

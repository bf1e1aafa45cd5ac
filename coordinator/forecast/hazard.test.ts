import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { HazardModel } from "./hazard.ts";
import { Track } from "./track.ts";

const START = 28_000_000;

test("hazard: is a probability whatever was seen, near and far ahead", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 300 }), (minutes) => {
      const model = new HazardModel();
      const track = new Track(START);
      for (const active of minutes) model.learn(track, active);
      const now = track.settled.minute + 1;
      for (const ahead of [0, 1, 60, 120, 1440, 20_000]) {
        const hazard = model.hazard(track, now + ahead);
        expect(hazard).toBeGreaterThan(0);
        expect(hazard).toBeLessThan(1);
      }
    }),
  );
});

test.each([0.02, 0.1, 0.4])("hazard: of chance arrivals it is their rate (%f a minute)", (rate) => {
  const random = seededRandom(`poisson ${rate}`);
  const model = new HazardModel();
  const tracks = Array.from({ length: 20 }, () => new Track(START));
  let expected = 0;
  let loss = 0;
  let scored = 0;
  let arrived = 0;
  for (let minute = 1; minute <= 1200; minute++) {
    for (const track of tracks) {
      const active = random.next() < rate;
      if (minute > 600) {
        const hazard = model.hazard(track, START + minute);
        expected += hazard;
        loss -= Math.log(active ? hazard : 1 - hazard);
        scored++;
        if (active) arrived++;
      }
      model.learn(track, active);
    }
  }
  const entropy = -rate * Math.log(rate) - (1 - rate) * Math.log(1 - rate);
  expect(expected / arrived).toBeGreaterThan(0.8);
  expect(expected / arrived).toBeLessThan(1.2);
  expect(loss / scored).toBeLessThan(entropy * 1.1);
});

test("hazard: a daily job is expected at its minute of the next day, not before", () => {
  const model = new HazardModel();
  const track = new Track(START);
  for (let minute = 1; minute < 5 * 1440 - 30; minute++) model.learn(track, minute % 1440 === 0);
  const due = model.hazard(track, START + 5 * 1440);
  const other = model.hazard(track, START + 5 * 1440 - 20);
  expect(due).toBeGreaterThan(10 * other);
});

test("hazard: looking does not change what is learned", () => {
  const [looked, blind] = [new HazardModel(), new HazardModel()];
  const [a, b] = [new Track(START), new Track(START)];
  for (let minute = 1; minute < 200; minute++) {
    for (let ahead = 1; ahead < 5; ahead++) looked.hazard(a, START + minute + ahead);
    looked.learn(a, minute % 7 === 0);
    blind.learn(b, minute % 7 === 0);
  }
  expect(looked.state()).toEqual(blind.state());
});

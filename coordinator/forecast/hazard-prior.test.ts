import { expect, test } from "vitest";
import { HazardModel } from "./hazard.ts";
import { MADE_UP_MINUTES, madeUpDemand, taughtHazard } from "./hazard-prior.ts";
import { Track } from "./track.ts";

/** Mean log loss per minute over the first hours of categories that none of them has seen. */
function lossOf(model: HazardModel, categories: number): number {
  const lanes = madeUpDemand(categories, "others").map((comes) => {
    return { comes, track: null as Track | null };
  });
  let loss = 0;
  let minutes = 0;
  for (let minute = 0; minute < MADE_UP_MINUTES / 2; minute++)
    for (const lane of lanes) {
      const active = lane.comes(minute);
      if (lane.track) {
        lane.track.preview([]);
        const hazard = model.hazard(lane.track, minute);
        loss -= Math.log(active ? hazard : 1 - hazard);
        minutes++;
        model.learn(lane.track, active);
      } else if (active) lane.track = new Track(minute);
    }
  return loss / minutes;
}

test.each([3, 20])(
  "taught hazard: knows the first hours of %i categories better than one that was not",
  (categories) => {
    const taught = new HazardModel();
    taught.restore(taughtHazard());
    expect(lossOf(taught, categories)).toBeLessThan(0.98 * lossOf(new HazardModel(), categories));
  },
);

test("taught hazard: is the same each time it is made, and the state that is given is no one's own", () => {
  const before = JSON.stringify(taughtHazard());
  const model = new HazardModel();
  model.restore(taughtHazard());
  lossOf(model, 3);
  expect(JSON.stringify(taughtHazard())).toBe(before);
});

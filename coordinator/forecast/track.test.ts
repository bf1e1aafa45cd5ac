import fc from "fast-check";
import { expect, test } from "vitest";
import { GAP_MAX, Track } from "./track.ts";

const START = 28_000_000;

function trackOf(minutes: readonly boolean[]): Track {
  const track = new Track(START);
  for (const active of minutes) track.settle(active);
  return track;
}

test("track: remembers which minutes were active, and idle after the last", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 100 }), fc.nat(100), (minutes, at) => {
      const track = trackOf(minutes);
      const expected = at === 0 || minutes[at - 1] === true ? 1 : 0;
      expect(track.activity(START + at, 1)).toBe(at > minutes.length ? 0 : expected);
      const from = START + at;
      let bits = 0;
      for (let i = 0; i < 8; i++) bits |= track.activity(from + i, 1) << i;
      expect(track.activity(from, 8)).toBe(bits);
    }),
  );
});

test("track: counts gaps by length, newer ones more, all at least the longest kept", () => {
  const track = trackOf([false, false, true, false, false, true, true]);
  expect(track.gapsBetween(1, 1)).toBeCloseTo(1);
  expect(track.gapsBetween(3, 3)).toBeGreaterThan(1.8);
  expect(track.gapsBetween(3, 3)).toBeLessThan(2);
  expect(track.gapsAtLeast(2)).toBeCloseTo(track.gapsBetween(3, 3));
  expect(track.settled).toMatchObject({ gap1: 1, gap2: 3, arrivals: 4, last: START + 7 });
  const long = trackOf([...Array.from({ length: 2 * GAP_MAX }, () => false), true]);
  expect(long.gapsAtLeast(GAP_MAX + 50)).toBeCloseTo(1);
});

test("track: a preview is forgotten when its minutes settle otherwise", () => {
  const minutes = [false, true, false, false, true, false];
  const previewed = new Track(START);
  for (const active of minutes) {
    previewed.preview([true, true, true]);
    previewed.preview([]);
    previewed.settle(active);
  }
  expect(previewed.state()).toEqual(trackOf(minutes).state());
  previewed.preview([false, true]);
  expect(previewed.current.last).toBe(START + minutes.length + 2);
  expect(previewed.settled.last).toBe(START + 5);
});

test("track: an amended minute is as good as one in time for what counts (last, gap, bit)", () => {
  const late = trackOf([true, false, false, false, false]);
  late.amend(START + 4);
  const inTime = trackOf([true, false, false, true, false]);
  expect(late.settled).toMatchObject({ last: START + 4, gap1: 3, gap2: 1, arrivals: 3 });
  expect(late.state().bits).toBe(inTime.state().bits);
  expect(late.gapsBetween(3, 3)).toBe(inTime.gapsBetween(3, 3));
  for (const [i, hits] of late.settled.hits.entries()) {
    expect(hits).toBeCloseTo(inTime.settled.hits[i] ?? 0);
  }
});

test("track: comes back from its state as it was", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (minutes) => {
      const track = trackOf(minutes);
      const restored = Track.restore(JSON.parse(JSON.stringify(track.state())));
      for (const one of [track, restored]) for (let i = 0; i < 20; i++) one.settle(i % 3 === 0);
      expect(restored.state()).toEqual(track.state());
      expect(restored.gapsAtLeast(1)).toBe(track.gapsAtLeast(1));
    }),
  );
});

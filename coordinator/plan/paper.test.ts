import { expect, test } from "vitest";
import { START_SHARE } from "./decide.ts";
import { type PaperMinute, paperArms } from "./paper.ts";
import { hazardPolicy, type MinuteSeries, replay } from "./replay.ts";

const arms = [
  { threshold: 0.5, lead: 1 },
  { threshold: 1, lead: 1 },
  { threshold: 2, lead: 2 },
];
const counts = [1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1];
const hazards = counts.map((_, i) =>
  Float32Array.from({ length: 120 }, (_, k) => ((i * 7 + k * 3) % 11) / 60),
);
const holdCost = 0.06;
const minuteAt = (i: number): PaperMinute => ({
  hazardPerMinute: hazards[i] ?? [],
  arrived: (counts[i] ?? 0) > 0,
  missCost: 1,
  holdCost,
  leadMinutes: 1,
});

test("paper: every arm costs what a replay of it costs (three arms, one course)", () => {
  const paper = paperArms(arms);
  let run = paper.begin(null, 1);
  counts.forEach((_, i) => {
    run = paper.minute(run, minuteAt(i));
  });
  const series: MinuteSeries = {
    key: "w/c",
    counts,
    startMinute: 0,
    missCost: 1,
    memoryGb: 1,
    leadMinutes: 1,
  };
  const peaks = Float32Array.from(hazards, (h) => Math.max(...h));
  const wanted = arms.map((arm) => {
    const result = replay(series, hazardPolicy(series, { hazards, peaks }, holdCost * 60, arm));
    const idle = result.loadedMinutes - result.arrivalMinutes;
    // With a lead of one minute each cold minute has its load.
    const ahead = result.loads - result.coldMinutes;
    return result.coldMinutes + idle * holdCost + ahead * START_SHARE;
  });
  paper.costs(run).forEach((cost, a) => {
    expect(cost).toBeCloseTo(wanted[a] ?? 0, 6);
  });
  expect(new Set(wanted.map((w) => w.toFixed(6))).size).toBeGreaterThan(1);
});

test("paper: an epoch begins for all arms where the played one ended (costs at zero)", () => {
  const paper = paperArms(arms);
  let run = paper.begin(null, 1);
  for (let i = 0; i < 8; i++) run = paper.minute(run, minuteAt(i));
  const next = paper.begin(run, 0);
  expect(next.costs).toEqual([0, 0, 0]);
  expect(next.states).toEqual([run.states[0], run.states[0], run.states[0]]);
  expect(next.index).toBe(8);
});

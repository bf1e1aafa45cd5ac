import { describe, expect, test } from "vitest";
import type { ForecastView } from "../../shared/api.ts";
import { bars } from "./fan.ts";
import { forecastText } from "./workload-forecast.ts";

const startMs = Date.UTC(2026, 10, 27, 9);
const forecast: ForecastView["forecasts"][number] = {
  workload: "maps",
  category: "eu",
  host: null,
  madeMs: startMs,
  startMs,
  binMs: 60_000,
  quantiles: [[2, 3, 5, 10, 20, 30, 40]],
  arrivalProbability: [0.99],
  mix: { ensemble: 0.8, hazard: 0.2, "model:mine": 0.001 },
  recent: [0, 0, 1, 1, 8, 8],
  watch: {
    scores: { samples: 120, relativeLoss: 0.624, coverage90: 0.91, bias: -0.02 },
    driftsMs: [Date.UTC(2026, 10, 26, 3)],
    ensemble: { season: 0.7, regression: 0.3 },
  },
};

describe("forecast of a workload", () => {
  test("draws the recent past and the fan, and says who contributes and how it has done", () => {
    expect(forecastText({ forecasts: [forecast] }).split("\n")).toEqual([
      "maps/eu at all hosts",
      "last 6 min at all hosts, up to 8 a bin",
      "| ▁█|",
      "made by ensemble 80.0 %, hazard 20.0 %",
      "ensemble: season 70.0 %, regression 30.0 %",
      "90 % interval held 91.0 %, loss 0.62× that of the day before, bias -2.0 %",
      "last left its level at 2026-11-26 03:00:00",
      expect.stringMatching(/^FROM +ANY +P5 +P25 +P50 +P75 +P95 +0 … 40$/),
      expect.stringMatching(/^09:00:00 +99.0 % +2.0 +5.0 +10.0 +20.0 +40.0 +--+=+\|=+-+$/),
      "",
    ]);
  });

  test("of a category that nothing is known of yet", () => {
    const watch = { scores: null, driftsMs: [], ensemble: {} };
    const quantiles = [[0, 0, 0, 0, 0, 0, 0]];
    const text = forecastText({
      forecasts: [{ ...forecast, quantiles, mix: {}, recent: [], watch }],
    });
    expect(text).toContain("made by nobody\nno forecast was scored yet\n");
    expect(forecastText({ forecasts: [] })).toMatch(/nothing was requested yet/);
  });

  test("bars: nothing is a blank, anything at all is seen", () => {
    expect(bars([0, 1000, 1, 0], 1)).toBe(" █▁ ");
    expect(bars([0, 0], 1)).toBe("  ");
  });
});

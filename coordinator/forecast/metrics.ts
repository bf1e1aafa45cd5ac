/** How good the forecasts are, over all categories: a name per category would have no bound. */
import type { Counter, Gauge, Metrics } from "../../shared/runtime/metrics.ts";
import type { Watched } from "./watch.ts";

/** Of the categories, the share that is at most there. */
const SHARES = ["0.1", "0.5", "0.9"] as const;
type Share = (typeof SHARES)[number];

export class ForecastMetrics {
  readonly #loss: Gauge<"quantile">;
  readonly #coverage: Gauge<"quantile">;
  readonly #bias: Gauge<"quantile">;
  readonly #categories: Gauge;
  readonly #fits: Counter;
  readonly #alarms: Counter;
  #seen = { fits: 0, alarms: 0 };

  constructor(metrics: Metrics) {
    const spread = (name: string, help: string) =>
      metrics.gauge({
        name,
        help: `${help}: quantiles over the categories`,
        labelNames: ["quantile"],
      });
    this.#loss = spread(
      "prestage_forecast_relative_loss_ratio",
      "Pinball loss relative to the same minute of the day before",
    );
    this.#coverage = spread(
      "prestage_forecast_coverage_ratio",
      "Share of minutes inside the 90 % interval",
    );
    this.#bias = spread(
      "prestage_forecast_bias_ratio",
      "Share of counts below the median less that above it",
    );
    this.#categories = metrics.gauge({
      name: "prestage_forecast_scored_categories",
      help: "Categories whose forecasts have been scored",
    });
    this.#fits = metrics.counter({
      name: "prestage_forecast_fits_total",
      help: "Fits of a category's ensemble to its past",
    });
    this.#alarms = metrics.counter({
      name: "prestage_forecast_drift_alarms_total",
      help: "Times a category was seen to leave its level",
    });
  }

  /** `counts` since the start; they begin anew with a forecaster that does. */
  show(scores: readonly Watched[], counts: { fits: number; alarms: number }): void {
    this.#categories.set(scores.length);
    this.#spread(
      this.#loss,
      scores.map(({ relativeLoss }) => relativeLoss),
    );
    this.#spread(
      this.#coverage,
      scores.map(({ coverage90 }) => coverage90),
    );
    this.#spread(
      this.#bias,
      scores.map(({ bias }) => bias),
    );
    this.#fits.inc(increase(this.#seen.fits, counts.fits));
    this.#alarms.inc(increase(this.#seen.alarms, counts.alarms));
    this.#seen = counts;
  }

  #spread(gauge: Gauge<"quantile">, values: readonly (number | null)[]): void {
    const known = values.filter((value) => value !== null).sort((a, b) => a - b);
    for (const quantile of SHARES) {
      const value = known[Math.round(shareOf(quantile) * (known.length - 1))];
      if (value !== undefined) gauge.set({ quantile }, value);
    }
  }
}

const shareOf = (share: Share) => Number(share);

function increase(before: number, now: number): number {
  return now >= before ? now - before : now;
}

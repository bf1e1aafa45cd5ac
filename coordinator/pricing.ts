/** Calibrates the price of memory-time on the demand that was recorded. */
import { categoryKey, DEMAND_BIN_MS } from "../shared/domain.ts";
import type { Catalog } from "./catalog.ts";
import { DemandHistory } from "./demand/history.ts";
import { economicsOf } from "./economics.ts";
import { Forecaster } from "./forecast/forecaster.ts";
import type { MeasuredCosts } from "./measured.ts";
import { DEFAULT_PRICE_OPTIONS, type PriceResult, priceFromHistory } from "./plan/price.ts";
import type { CurveSource, MinuteSeries } from "./plan/replay.ts";

export type PricingDeps = {
  history: DemandHistory;
  catalog: Catalog;
  measured: MeasuredCosts;
  speed: number;
};

/** Newest minutes of history that are looked at. */
const MINUTES_MAX = 24 * 60;

/** Null when there is no history of declared workloads yet. */
export function calibratePrice(
  deps: PricingDeps,
  memoryRatio: number,
  nowMs: number,
): PriceResult | null {
  const { history } = deps;
  const series: MinuteSeries[] = [];
  const keys = new Map<string, { workload: string; category: string }>();
  const fromMs = nowMs - MINUTES_MAX * DEMAND_BIN_MS;
  for (const { workload, category } of history.keys()) {
    const economics = economicsOf(deps, workload);
    if (!economics) continue;
    const range = { fromMs, toMs: nowMs };
    const { startMs, counts } = history.series(workload, category, null, range);
    if (counts.length < 2) continue;
    const key = categoryKey(workload, category);
    keys.set(key, { workload, category });
    series.push({
      key,
      counts,
      startMinute: Math.floor(startMs / DEMAND_BIN_MS),
      ...economics,
    });
  }
  if (series.length === 0) return null;
  return priceFromHistory(series, prequential(keys), { ...DEFAULT_PRICE_OPTIONS, memoryRatio });
}

/** A fresh forecaster that is shown the history minute by minute. */
function prequential(keys: Map<string, { workload: string; category: string }>): CurveSource {
  const seen = new DemandHistory();
  const forecaster = new Forecaster({ scoring: false });
  let updated = -1;
  return {
    observe: (key, minute, count) => {
      const category = keys.get(key);
      if (category && count > 0)
        seen.add({ ...category, host: "replay", startMs: minute * DEMAND_BIN_MS, count });
    },
    curve: (key, minute) => {
      if (minute !== updated) {
        forecaster.update(seen, minute * DEMAND_BIN_MS);
        updated = minute;
      }
      const { workload, category } = keys.get(key) ?? { workload: key, category: "" };
      return forecaster.arrival(workload, category, minute * DEMAND_BIN_MS);
    },
  };
}

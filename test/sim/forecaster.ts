/** Arrival curves from the world's own rates, wrong by each category's bias: plans see errors. */
import { type ArrivalCurve, Forecaster } from "../../coordinator/forecast/forecaster.ts";
import { categoryKey } from "../../shared/domain.ts";
import { isActive, type World } from "./world.ts";

const MINUTES = 120;
const NOTHING: ArrivalCurve = {
  probabilityWithin: () => 0,
  hazardPerMinute: new Array<number>(MINUTES).fill(0),
  lastArrivalMs: null,
};

export class SimForecaster extends Forecaster {
  readonly #world: World;
  readonly #curves = new Map<string, ArrivalCurve>();

  constructor(world: World) {
    super();
    this.#world = world;
  }

  override update(): void {}

  override arrival(workload: string, category: string, nowMs: number): ArrivalCurve {
    const found = this.#world.byKey.get(categoryKey(workload, category));
    if (!found) return NOTHING;
    const active = isActive(found, nowMs);
    const key = `${found.key} ${active}`;
    const known = this.#curves.get(key);
    if (known) return known;
    const perMinute = found.perMinute * found.forecastBias * (active ? 1 : 0.02);
    const curve = {
      probabilityWithin: (ms: number) => 1 - Math.exp((-perMinute * ms) / 60_000),
      hazardPerMinute: new Array<number>(MINUTES).fill(1 - Math.exp(-perMinute)),
      lastArrivalMs: null,
    };
    this.#curves.set(key, curve);
    return curve;
  }
}

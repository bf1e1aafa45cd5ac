/** Metrics in Prometheus form. The only importer of prom-client. */
import {
  Counter,
  type CounterConfiguration,
  Gauge,
  type GaugeConfiguration,
  Histogram,
  type HistogramConfiguration,
  Registry,
} from "prom-client";

export type { Counter, Gauge, Histogram };

/** One registry a process; each service declares its metrics beside itself. */
export class Metrics {
  readonly #registry = new Registry();

  counter<L extends string = never>(o: CounterConfiguration<L>): Counter<L> {
    return new Counter({ ...o, registers: [this.#registry] });
  }
  gauge<L extends string = never>(o: GaugeConfiguration<L>): Gauge<L> {
    return new Gauge({ ...o, registers: [this.#registry] });
  }
  histogram<L extends string = never>(o: HistogramConfiguration<L>): Histogram<L> {
    return new Histogram({ ...o, registers: [this.#registry] });
  }
  /** The text exposition format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

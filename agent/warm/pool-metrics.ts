import type { Counter, Gauge, Metrics } from "../../shared/runtime/metrics.ts";
import type { Room } from "./policy.ts";

/** The pool's own metrics. */
export class PoolMetrics {
  readonly #acquires: Counter<"kind">;
  readonly #failures: Counter;
  readonly #processes: Gauge;
  readonly #memory: Gauge;

  constructor(metrics: Metrics) {
    this.#acquires = metrics.counter({
      name: "prestage_warm_acquires_total",
      help: "Requests given an environment, by what they found",
      labelNames: ["kind"],
    });
    this.#failures = metrics.counter({
      name: "prestage_warm_failures_total",
      help: "Environments that could not be made, failed a shadow request or died",
    });
    this.#processes = metrics.gauge({
      name: "prestage_warm_environments",
      help: "Environments that hold a process",
    });
    this.#memory = metrics.gauge({
      name: "prestage_warm_memory_bytes",
      help: "Declared memory of environments that hold a process",
    });
  }

  acquired(kind: "warm" | "late" | "made"): void {
    this.#acquires.inc({ kind });
  }

  failed(): void {
    this.#failures.inc();
  }

  holding({ memoryBytes, environments }: Room): void {
    this.#memory.set(memoryBytes);
    this.#processes.set(environments);
  }
}

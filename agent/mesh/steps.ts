/** The steps by which a version comes here: how many, how long each took, how many failed. */
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Counter, Histogram, Metrics } from "../../shared/runtime/metrics.ts";

export type StepName = "manifest" | "fetch" | "verify" | "store" | "activate";

export class Steps {
  readonly #clock: Clock;
  readonly #seconds: Histogram<"step">;
  readonly #failures: Counter<"step">;

  constructor(clock: Clock, metrics: Metrics) {
    this.#clock = clock;
    this.#seconds = metrics.histogram<"step">({
      name: "prestage_mesh_step_seconds",
      help: "Time of a step: finding a manifest; fetching, verifying, storing a chunk; activating",
      labelNames: ["step"],
      buckets: [0.0001, 0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    });
    this.#failures = metrics.counter<"step">({
      name: "prestage_mesh_step_failures_total",
      help: "Steps that failed; a fetch also when the peer had no time or not the chunk",
      labelNames: ["step"],
    });
  }

  /** What throws has failed; `failed` judges what does not. */
  async time<T>(
    step: StepName,
    work: () => T | Promise<T>,
    failed: (result: T) => boolean = () => false,
  ): Promise<T> {
    const startMs = this.#clock.monotonic();
    let bad = true;
    try {
      const result = await work();
      bad = failed(result);
      return result;
    } finally {
      this.#seconds.observe({ step }, (this.#clock.monotonic() - startMs) / 1_000);
      if (bad) this.#failures.inc({ step });
    }
  }
}

import type { Outcome } from "../../shared/domain.ts";
import type { Counter, Histogram, Metrics } from "../../shared/runtime/metrics.ts";

/** The router's own metrics. */
export class RouterMetrics {
  readonly #requests: Counter<"status">;
  readonly #refused: Counter;
  readonly #outcomes: Counter<"kind">;
  readonly #firstByte: Histogram<"kind">;
  readonly #seconds: Histogram;

  constructor(metrics: Metrics, inProgress: () => number) {
    this.#requests = metrics.counter({
      name: "prestage_router_requests_total",
      help: "Requests that ended, by class of status",
      labelNames: ["status"],
    });
    this.#refused = metrics.counter({
      name: "prestage_router_refused_total",
      help: "Requests refused because too many were in progress",
    });
    this.#outcomes = metrics.counter({
      name: "prestage_router_outcomes_total",
      help: "Requests that entered here, by what they found",
      labelNames: ["kind"],
    });
    this.#firstByte = metrics.histogram({
      name: "prestage_router_first_byte_seconds",
      help: "From a request's arrival to the first byte of its answer",
      labelNames: ["kind"],
      buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100],
    });
    this.#seconds = metrics.histogram({
      name: "prestage_router_request_seconds",
      help: "From a request's arrival to the end of its answer",
      buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100],
    });
    metrics.gauge({
      name: "prestage_router_requests",
      help: "Requests in progress",
      collect() {
        this.set(inProgress());
      },
    });
  }

  served(status: number, durationMs: number): void {
    this.#requests.inc({ status: `${Math.floor(status / 100)}xx` });
    this.#seconds.observe(durationMs / 1000);
  }

  refused(): void {
    this.#refused.inc();
  }

  outcome({ kind, firstByteMs }: Outcome): void {
    this.#outcomes.inc({ kind });
    this.#firstByte.observe({ kind }, firstByteMs / 1000);
  }
}

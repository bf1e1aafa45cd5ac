import type { Counter, Histogram, Metrics } from "../../shared/runtime/metrics.ts";
import type { Asked } from "./asked.ts";
import type { From } from "./images.ts";

type Kind = Asked["kind"] | "other";

/** The mirror's own metrics. */
export class MirrorMetrics {
  readonly #requests: Counter<"kind" | "status">;
  readonly #seconds: Histogram<"kind">;
  readonly #bytes: Counter<"from">;
  readonly #misses: Counter<"kind">;
  readonly #broken: Counter;

  constructor(metrics: Metrics) {
    this.#requests = metrics.counter({
      name: "prestage_mirror_requests_total",
      help: "Requests to the image mirror that ended, by what was asked for and class of status",
      labelNames: ["kind", "status"],
    });
    this.#seconds = metrics.histogram({
      name: "prestage_mirror_request_seconds",
      help: "From a request's arrival to the end of its answer",
      labelNames: ["kind"],
      buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300],
    });
    this.#bytes = metrics.counter({
      name: "prestage_mirror_bytes_total",
      help: "Bytes of images given to container engines, by where they were when asked for",
      labelNames: ["from"],
    });
    this.#misses = metrics.counter({
      name: "prestage_mirror_misses_total",
      help: "Requests for what neither mesh nor upstreams have: the engine asks the registry",
      labelNames: ["kind"],
    });
    this.#broken = metrics.counter({
      name: "prestage_mirror_broken_total",
      help: "Answers that were begun and could not be ended",
    });
  }

  ended(kind: Kind, status: number, durationMs: number): void {
    this.#requests.inc({ kind, status: `${Math.floor(status / 100)}xx` });
    this.#seconds.observe({ kind }, durationMs / 1000);
    if (status === 404) this.#misses.inc({ kind });
  }

  gave(from: From, bytes: number): void {
    this.#bytes.inc({ from }, bytes);
  }

  broke(): void {
    this.#broken.inc();
  }
}

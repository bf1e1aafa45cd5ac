/** What the link counts. */
import type { Counter, Gauge, Metrics } from "../../shared/runtime/metrics.ts";
import type { Outbox } from "./outbox.ts";

type Dropped = "invalid" | "rate" | "refused" | "unsendable" | "demand" | "outcome";

export class LinkMetrics {
  readonly connected: Gauge;
  readonly attempts: Counter;
  readonly sent: Counter<"type">;
  readonly received: Counter<"type">;
  readonly dropped: Counter<"what">;
  readonly waiting: Gauge<"what">;

  constructor(metrics: Metrics) {
    this.connected = metrics.gauge({
      name: "prestage_link_connected",
      help: "1 while the session with the coordinator is open",
    });
    this.attempts = metrics.counter({
      name: "prestage_link_attempts_total",
      help: "Connections to the coordinator that were tried",
    });
    this.sent = metrics.counter<"type">({
      name: "prestage_link_sent_messages_total",
      help: "Messages sent to the coordinator",
      labelNames: ["type"],
    });
    this.received = metrics.counter<"type">({
      name: "prestage_link_received_messages_total",
      help: "Messages received from the coordinator",
      labelNames: ["type"],
    });
    this.dropped = metrics.counter<"what">({
      name: "prestage_link_dropped_total",
      help: "Frames or records dropped, by what happened to them",
      labelNames: ["what"],
    });
    this.waiting = metrics.gauge<"what">({
      name: "prestage_link_waiting_records",
      help: "Records that wait for the coordinator",
      labelNames: ["what"],
    });
  }

  drop(what: Dropped, count: number): void {
    if (count > 0) this.dropped.inc({ what }, count);
  }

  backlog(now: Outbox, before: Outbox): void {
    if (now === before) return;
    this.waiting.set({ what: "demand" }, now.demand.size);
    this.waiting.set({ what: "outcome" }, now.outcomes.size);
    this.drop("demand", now.droppedDemand - before.droppedDemand);
    this.drop("outcome", now.droppedOutcomes - before.droppedOutcomes);
  }
}

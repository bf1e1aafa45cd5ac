/** What the agents' sessions count. */
import type { RequestKind } from "../../shared/protocol/bodies.ts";
import type { Counter, Gauge, Histogram, Metrics } from "../../shared/runtime/metrics.ts";

export class SessionMetrics {
  readonly open: Gauge;
  readonly bufferedBytes: Gauge;
  readonly refusedConnections: Counter<"code">;
  readonly closed: Counter<"code">;
  readonly received: Counter<"type">;
  readonly receivedBytes: Counter<"type">;
  readonly sent: Counter<"type">;
  readonly sentBytes: Counter<"type">;
  readonly droppedFrames: Counter<"type">;
  readonly refusedFrames: Counter<"at">;
  readonly foreignRecords: Counter;

  readonly #answers: Histogram<"kind">;
  readonly #failedAnswers: Counter<"kind">;

  constructor(metrics: Metrics) {
    const counter = <L extends string>(name: string, help: string, label: L) =>
      metrics.counter<L>({ name: `prestage_gateway_${name}_total`, help, labelNames: [label] });
    this.open = metrics.gauge({
      name: "prestage_gateway_sessions",
      help: "Agents with an open session",
    });
    this.bufferedBytes = metrics.gauge({
      name: "prestage_gateway_buffered_bytes",
      help: "Bytes that wait to be sent to agents, all sessions",
    });
    this.refusedConnections = counter("refused_connections", "Agents not let in", "code");
    this.closed = counter("closed_sessions", "Sessions ended by the coordinator", "code");
    this.received = counter("received_messages", "Messages received from agents", "type");
    this.receivedBytes = counter("received_bytes", "Bytes of messages from agents", "type");
    this.sent = counter("sent_messages", "Messages sent to agents", "type");
    this.sentBytes = counter("sent_bytes", "Bytes of messages to agents", "type");
    this.droppedFrames = counter("dropped_frames", "Frames over their rate, not read", "type");
    this.refusedFrames = counter("refused_frames", "Frames that ended a session", "at");
    this.foreignRecords = metrics.counter({
      name: "prestage_gateway_foreign_records_total",
      help: "Demand bins dropped because a host reported them for another host",
    });
    this.#answers = metrics.histogram<"kind">({
      name: "prestage_agent_request_seconds",
      help: "Time to answer what agents ask: publish, resolve, manifest and others",
      labelNames: ["kind"],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
    });
    this.#failedAnswers = metrics.counter<"kind">({
      name: "prestage_agent_request_failures_total",
      help: "Questions of agents that were answered with an error",
      labelNames: ["kind"],
    });
  }

  answered(kind: RequestKind, seconds: number, ok: boolean): void {
    this.#answers.observe({ kind }, seconds);
    if (!ok) this.#failedAnswers.inc({ kind });
  }
}

/** What the mesh shows to Prometheus. */
import type { PublisherReason } from "../../shared/publishers.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Metrics } from "../../shared/runtime/metrics.ts";
import { Steps } from "./steps.ts";

export type MeshCounters = {
  peerBytes: number;
  originBytes: number;
  foregroundBytes: number;
  /** Staged, never used, evicted. */
  wastedBytes: number;
  /** Staged, not used yet, still held. */
  unusedBytes: number;
  /** Given to other hosts. */
  sentBytes: number;
  verifiedChunks: number;
  refetchedChunks: number;
  corruptChunks: number;
  /** Times a peer was cut off for lying. */
  shunnedPeers: number;
  stagingSpentBytes: number;
};

export class MeshMetrics {
  readonly steps: Steps;
  readonly #bytes;
  readonly #chunks;
  readonly #refused;
  readonly #shunned;
  readonly #refusedManifests;
  readonly #used;
  readonly #logical;
  #last: MeshCounters | null = null;

  constructor(metrics: Metrics, clock: Clock) {
    this.steps = new Steps(clock, metrics);
    this.#bytes = metrics.counter<"kind">({
      name: "prestage_mesh_bytes_total",
      help: "Chunk bytes by kind: from peers, from the origin, foreground, sent, wasted, staged",
      labelNames: ["kind"],
    });
    this.#chunks = metrics.counter<"result">({
      name: "prestage_mesh_chunks_total",
      help: "Chunks by result: verified, fetched again although held, corrupt",
      labelNames: ["result"],
    });
    this.#refused = metrics.counter({
      name: "prestage_mesh_refused_peers_total",
      help: "Connections of peers that are not enrolled",
    });
    this.#shunned = metrics.counter({
      name: "prestage_mesh_shunned_peers_total",
      help: "Times a peer was cut off for a while because it gave wrong chunks or false holdings",
    });
    this.#refusedManifests = metrics.counter<"reason">({
      name: "prestage_mesh_refused_manifests_total",
      help: "Manifests whose signature does not count: key unknown, distrusted, or of other names",
      labelNames: ["reason"],
    });
    this.#used = metrics.gauge({
      name: "prestage_mesh_store_bytes",
      help: "Bytes on disk of artifact versions, shared files once, partial versions whole",
    });
    this.#logical = metrics.gauge({
      name: "prestage_mesh_store_logical_bytes",
      help: "Bytes of artifact versions, as if each had its files for itself",
    });
  }

  refusedManifest(reason: PublisherReason): void {
    this.#refusedManifests.inc({ reason });
  }

  refused(): void {
    this.#refused.inc();
  }

  update(now: MeshCounters, store: { usedBytes: number; logicalBytes: number }): void {
    const grown = (key: keyof MeshCounters) => Math.max(0, now[key] - (this.#last?.[key] ?? 0));
    this.#bytes.inc({ kind: "peer" }, grown("peerBytes"));
    this.#bytes.inc({ kind: "origin" }, grown("originBytes"));
    this.#bytes.inc({ kind: "foreground" }, grown("foregroundBytes"));
    this.#bytes.inc({ kind: "sent" }, grown("sentBytes"));
    this.#bytes.inc({ kind: "wasted" }, grown("wastedBytes"));
    this.#bytes.inc({ kind: "staged" }, grown("stagingSpentBytes"));
    this.#chunks.inc({ result: "verified" }, grown("verifiedChunks"));
    this.#chunks.inc({ result: "refetched" }, grown("refetchedChunks"));
    this.#chunks.inc({ result: "corrupt" }, grown("corruptChunks"));
    this.#shunned.inc(grown("shunnedPeers"));
    this.#used.set(store.usedBytes);
    this.#logical.set(store.logicalBytes);
    this.#last = now;
  }
}

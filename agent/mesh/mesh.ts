import type { HoldArtifact, Member, SignedManifest } from "../../shared/domain.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Metrics } from "../../shared/runtime/metrics.ts";
import type { Random } from "../../shared/runtime/random.ts";

/** Where chunks come from when no peer has them; `agent/sources/http.ts` is one. */
export type OriginSource = {
  fetchRange(
    range: { originUrl: string; path: string; offset: number; bytes: number },
    options: { signal: AbortSignal },
  ): Promise<Uint8Array>;
};

export type MeshDeps = {
  identity: { seed: Uint8Array; peerId: string; host: string; site: string };
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  resolveManifest: (hash: string) => Promise<SignedManifest>;
  source: OriginSource;
};

export type MeshOptions = {
  dir: string;
  quotaBytes: number;
  listen: string[];
  announce?: string[];
};

export type Holding = {
  manifestHash: string;
  ref: { name: string; version: string };
  bytesHave: number;
  bytes: number;
  active: boolean;
};

export type OrderState = {
  orderId: string;
  state: "pending" | "done" | "failed" | "withdrawn";
  code: string | null;
  bytesDone: number;
};

export type MeshCounters = {
  peerBytes: number;
  originBytes: number;
  foregroundBytes: number;
  wastedBytes: number;
  verifiedChunks: number;
  refetchedChunks: number;
  corruptChunks: number;
  stagingSpentBytes: number;
};

export class Mesh {
  readonly started: Promise<void> = Promise.resolve();

  constructor(_deps: MeshDeps, _options: MeshOptions) {}

  async run(_signal: AbortSignal): Promise<void> {}
  addresses(): string[] {
    return [];
  }
  setMembers(_members: Member[]): void {}
  setHold(_hold: HoldArtifact[]): void {}
  setRate(_bytesPerSecond: number): void {}
  ensure(
    _manifestHash: string,
    _options: { priority: number; foreground: boolean; signal: AbortSignal },
  ): Promise<string> {
    throw new Error("not built yet");
  }
  publish(
    _dir: string,
    _options: { name: string; version: string; originUrl: string | null; keep: boolean },
  ): Promise<SignedManifest> {
    throw new Error("not built yet");
  }
  markUsed(_manifestHash: string): void {}
  pin(_manifestHash: string, _owner: string): void {}
  unpin(_manifestHash: string, _owner: string): void {}
  holdings(): Holding[] {
    return [];
  }
  orderStates(): OrderState[] {
    return [];
  }
  counters(): MeshCounters {
    return {
      peerBytes: 0,
      originBytes: 0,
      foregroundBytes: 0,
      wastedBytes: 0,
      verifiedChunks: 0,
      refetchedChunks: 0,
      corruptChunks: 0,
      stagingSpentBytes: 0,
    };
  }
  rates(): { peerBytesPerSecond: number; originBytesPerSecond: number } {
    return { peerBytesPerSecond: 0, originBytesPerSecond: 0 };
  }
}

/** What a mesh needs and how it is set. */
import type { SignedManifest } from "../../shared/domain.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Metrics } from "../../shared/runtime/metrics.ts";
import type { Random } from "../../shared/runtime/random.ts";
import type { AskElsewhere } from "./ask-around.ts";
import type { OriginSource } from "./fetcher.ts";
import type { Disk } from "./store/disk.ts";

export type MeshDeps = {
  identity: { seed: Uint8Array; peerId: string; host: string; site: string };
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  resolveManifest: (hash: string) => Promise<SignedManifest>;
  askElsewhere: AskElsewhere;
  source: OriginSource;
  /** A peer that is no member was turned away. */
  onRefused(peerId: string): void;
};
export type MeshOptions = {
  dir: string;
  quotaBytes: number;
  /** Share of the file system that staging leaves free; 0: only what everybody needs. */
  reserveRatio: number;
  /** Tests give one that fails. */
  disk?: Disk;
  listen: string[];
  /** Where chunks are served; another port is taken if that one is in use, unless one insists. */
  bulk: { host: string; port: number; insist: boolean };
  announce?: string[];
};

/** Bytes per second from outside the site, and to hosts of other sites. */
export const NO_SITE_BUDGET = {
  incoming: Number.POSITIVE_INFINITY,
  outgoing: Number.POSITIVE_INFINITY,
};

/** A host's disk: what survives a crash. Which chunks are really good is known only to the run. */
import { Bitmap } from "../../agent/mesh/transfer/bitmap.ts";
import type { SimArtifact } from "./world.ts";

export type Version = {
  artifact: SimArtifact;
  have: Bitmap;
  /** Of the chunks it has. */
  bytesHave: number;
  /** Set only if a corrupt chunk was let in. */
  tainted: boolean;
  active: boolean;
  lastUsedMs: number;
  /** Positions by chunk hash. */
  positions: ReadonlyMap<string, number>;
};

export class SimDisk {
  readonly quotaBytes: number;
  readonly versions = new Map<string, Version>();
  usedBytes = 0;

  constructor(quotaBytes: number) {
    this.quotaBytes = quotaBytes;
  }

  /** Room for a version, dropping unprotected ones, the longest unused first; null when full. */
  add(
    artifact: SimArtifact,
    nowMs: number,
    isProtected: (manifestHash: string) => boolean,
    dropped: (manifestHash: string) => void,
  ): Version | null {
    const known = this.versions.get(artifact.manifestHash);
    if (known) return known;
    const evictable = [...this.versions.values()]
      .filter((v) => !isProtected(v.artifact.manifestHash))
      .sort((a, b) => a.lastUsedMs - b.lastUsedMs);
    const evictableBytes = evictable.reduce((sum, v) => sum + v.artifact.bytes, 0);
    if (this.usedBytes - evictableBytes + artifact.bytes > this.quotaBytes) return null;
    for (const version of evictable) {
      if (this.usedBytes + artifact.bytes <= this.quotaBytes) break;
      this.remove(version.artifact.manifestHash);
      dropped(version.artifact.manifestHash);
    }
    const version: Version = {
      artifact,
      have: new Bitmap(artifact.chunks.length),
      bytesHave: 0,
      tainted: false,
      active: false,
      lastUsedMs: nowMs,
      positions: new Map(artifact.chunks.map((chunk, i) => [chunk.hash, i])),
    };
    this.versions.set(artifact.manifestHash, version);
    this.usedBytes += artifact.bytes;
    return version;
  }

  remove(manifestHash: string): void {
    const version = this.versions.get(manifestHash);
    if (!version) return;
    this.versions.delete(manifestHash);
    this.usedBytes -= version.artifact.bytes;
  }

  /** The version here that holds the chunk. */
  holder(hash: string): Version | null {
    for (const version of this.versions.values()) {
      const position = version.positions.get(hash);
      if (position !== undefined && version.have.has(position)) return version;
    }
    return null;
  }
}

/** A store without a mesh, and versions made by hand. */
import { hash } from "node:crypto";
import type { Manifest, SignedManifest } from "../../../shared/domain.ts";
import { keyFromSeed, signManifest } from "../../../shared/manifest.ts";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { silentLog } from "../../../shared/runtime/log.ts";
import type { Disk } from "./disk.ts";
import { Store, type StoreDeps, type StoreOptions } from "./store.ts";

export const key = keyFromSeed(new Uint8Array(32));
export const WISH = { foreground: true, priority: 100 };
/** By path, what each chunk says. */
export type Content = Record<string, string[]>;

/** Chunks far smaller than those of the chunker: the store takes any. */
export function version(
  content: Content,
  name: string,
  createdMs = 0,
): { signed: SignedManifest; manifest: Manifest } {
  const files = Object.entries(content).map(([path, texts]) => {
    const chunks = texts.map((t) => ({ hash: hash("sha256", t, "hex"), bytes: t.length }));
    return { path, mode: 0o644 as const, bytes: texts.join("").length, chunks };
  });
  const bytes = files.reduce((sum, f) => sum + f.bytes, 0);
  const about = { name, version: "1", createdMs, originUrl: null, publisher: "h" };
  const manifest = { ...about, files, bytes };
  return { signed: signManifest(manifest, key), manifest };
}
const plenty = async () => ({ bavail: 1e6, bsize: 1e6, blocks: 1e6 });

/** On a disk with room for everything. */
export function storeAt(
  dir: string,
  real: Disk,
  { quotaBytes = 1e9, ...over }: Partial<StoreDeps & StoreOptions> = {},
): Store {
  const disk: Disk = Object.assign({ ...real }, { statfs: plenty });
  const never = () => false;
  const deps = { clock: systemClock, log: silentLog, isProtected: never, isWithPeers: never };
  return new Store({ ...deps, disk, ...over }, { dir, quotaBytes, reserveRatio: 0 });
}

/** Answers what members ask for: chunks, manifests, what is held of a version, and patches. */

import { encodePatches, packText, runsBetween } from "./delta.ts";
import type { Kind } from "./frames.ts";
import { encodeHoldings } from "./gossip.ts";
import type { HotChunks } from "./hot-chunks.ts";
import type { Signers } from "./signers.ts";
import type { Store } from "./store.ts";
import { Units } from "./units.ts";

/** What a peer gets at most as patches of one version; the rest comes as chunks. */
export const PATCH_BYTES_MAX = 1 << 20;
/** Many ask for the same at once: a new version is wanted everywhere. */
const REMEMBERED = 4;

export class Serving {
  readonly #store: Store;
  readonly #hot: HotChunks;
  readonly #signers: Signers;
  /** By both versions, in order of last use. */
  readonly #patches = new Map<string, Promise<Uint8Array | null>>();

  constructor(deps: { store: Store; hot: HotChunks; signers: Signers }) {
    this.#store = deps.store;
    this.#hot = deps.hot;
    this.#signers = deps.signers;
  }

  /** `base`: a version that who asks has. Null: it is not here. */
  async serve(kind: Kind, hash: string, base: string | null): Promise<Uint8Array | null> {
    if (kind === "chunk") return this.#hot.get(hash) ?? this.#store.readChunk(hash);
    const tree = this.#store.get(hash);
    if (!tree || this.#signers.reason(hash)) return null;
    if (kind === "holdings") return encodeHoldings(Units.of(tree.chunks).whole(tree.have));
    if (kind === "patches") return base === null ? null : this.#patched(hash, base);
    const signed = await this.#store.signedManifest(hash);
    if (!signed) return null;
    const like = base === null ? null : await this.#store.signedManifest(base);
    if (base !== null && !like) return null;
    return packText(JSON.stringify(signed), like ? JSON.stringify(like) : "");
  }

  #patched(hash: string, base: string): Promise<Uint8Array | null> {
    const key = `${hash} ${base}`;
    const known = this.#patches.get(key) ?? this.#makePatches(hash, base);
    this.#patches.delete(key);
    this.#patches.set(key, known);
    const whole = this.#store.get(hash)?.active && this.#store.get(base)?.active;
    if (!whole) this.#patches.delete(key);
    known.catch(() => this.#patches.delete(key));
    const oldest = this.#patches.keys().next();
    if (this.#patches.size > REMEMBERED && !oldest.done) this.#patches.delete(oldest.value);
    return known;
  }

  async #makePatches(hash: string, base: string): Promise<Uint8Array | null> {
    const [newer, older] = [this.#store.get(hash), this.#store.get(base)];
    if (!newer || !older) return null;
    const runs = runsBetween(newer.manifest, older.manifest);
    return encodePatches(runs, (chunk) => this.#store.readChunk(chunk), PATCH_BYTES_MAX);
  }
}

/** Answers what members ask for: chunks, manifests, what is held of a version, and patches. */
import type { Clock } from "../../shared/runtime/clock.ts";
import { encodePatches, packText, runsBetween } from "./delta.ts";
import type { Signers } from "./signers.ts";
import type { HotChunks } from "./store/hot-chunks.ts";
import type { Store } from "./store/store.ts";
import { Units } from "./transfer/units.ts";
import { encodeHoldings } from "./wire/gossip.ts";
import type { Serve, Served } from "./wire/server.ts";

/** What a peer gets at most as patches of one version; the rest comes as chunks. */
export const PATCH_BYTES_MAX = 8 << 20;
/** Many ask for the same at once: a new version is wanted everywhere. */
const REMEMBERED = 4;
/** Patches from this size on are given to one host at a time, which gives them on. */
const SHARED_FROM_BYTES = 1 << 10;
/** From one to the next: whoever published it leaves it to the first, who gives it on and on. */
const PUBLISHER_TURN_MS = 4_000;
const TURN_MS = 250;

export class Serving {
  readonly #store: Store;
  readonly #hot: HotChunks;
  readonly #signers: Signers;
  /** By both versions, in order of last use. */
  readonly #patches = new Map<string, Promise<Uint8Array | null>>();
  /** Until when the same patches are given to nobody else. */
  readonly #turns = new Map<string, number>();
  readonly #self: string;
  readonly #clock: Clock;

  constructor(deps: {
    self: string;
    clock: Clock;
    store: Store;
    hot: HotChunks;
    signers: Signers;
  }) {
    this.#self = deps.self;
    this.#clock = deps.clock;
    this.#store = deps.store;
    this.#hot = deps.hot;
    this.#signers = deps.signers;
  }

  /**
   * `base`: a version that who asks has. Null: it is not here; busy: another is getting it first.
   */
  readonly serve: Serve = async (kind, hash, base, foreground) => {
    if (kind === "chunk")
      return (
        this.#hot.get(hash) ?? this.#store.readChunk(hash, (bytes) => this.#hot.pool.take(bytes))
      );
    const tree = this.#store.get(hash);
    if (!tree || this.#signers.reason(hash)) return null;
    if (kind === "holdings") return encodeHoldings(Units.of(tree.chunks).whole(tree.have));
    if (kind === "patches") return base === null ? null : this.#given(hash, base, foreground);
    const signed = await this.#store.signedManifest(hash);
    if (!signed) return null;
    const like = base === null ? null : await this.#store.signedManifest(base);
    if (base !== null && !like) return null;
    return packText(JSON.stringify(signed), like ? JSON.stringify(like) : "");
  };

  async #given(hash: string, base: string, foreground: boolean): Promise<Served> {
    const patches = await this.#patched(hash, base);
    if (!patches || patches.length < SHARED_FROM_BYTES || foreground) return patches;
    const nowMs = this.#clock.monotonic();
    for (const [key, untilMs] of this.#turns) if (untilMs <= nowMs) this.#turns.delete(key);
    if (this.#turns.has(`${hash} ${base}`)) return "busy";
    const own = this.#store.get(hash)?.manifest.publisher === this.#self;
    this.#turns.set(`${hash} ${base}`, nowMs + (own ? PUBLISHER_TURN_MS : TURN_MS));
    return patches;
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

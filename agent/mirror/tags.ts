/**
 * What tags stand for: as the registry says now, while it answers in time; else as it was last
 * known, here or in the catalog. A registry that did not answer is left alone for a while, so that
 * pulls do not wait for it one by one.
 */
import { PrestageError } from "../../shared/errors.ts";
import { type ImageReference, imageUrl } from "../../shared/image.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import { Recent } from "../../shared/runtime/recent.ts";

export type TagDeps = {
  clock: Clock;
  log: Log;
  /** Asks the registry. Throws NOT_FOUND when it has no such tag. */
  head(image: ImageReference, options: { signal: AbortSignal }): Promise<{ digest: string }>;
  /** Survives a restart: digests by `oci://REGISTRY/REPOSITORY:TAG`. */
  remembered: { get(key: string): string | null; set(key: string, digest: string): void };
};
export type TagOptions = { freshMs: number; patienceMs: number };

const AWAY_MS = 10_000;
const FRESH_MAX = 2_000;
const AWAY_MAX = 200;

export class Tags {
  readonly #deps: TagDeps;
  readonly #options: TagOptions;
  readonly #fresh = new Recent<string, { digest: string; untilMs: number }>(FRESH_MAX);
  readonly #awayUntilMs = new Recent<string, number>(AWAY_MAX);

  constructor(deps: TagDeps, options: TagOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Null when nobody knows. `published` is the latest the catalog has under that tag. */
  async digest(
    image: ImageReference & { tag: string },
    published: string | null,
    { signal }: { signal: AbortSignal },
  ): Promise<string | null> {
    const { clock, remembered } = this.#deps;
    const key = imageUrl({ ...image, digest: null });
    const fresh = this.#fresh.get(key);
    if (fresh && clock.monotonic() < fresh.untilMs) return fresh.digest;
    const said = await this.#ask(image, signal);
    if (said === "none") return null;
    if (said === "away") return remembered.get(key) ?? published;
    remembered.set(key, said.digest);
    this.#fresh.set(key, { ...said, untilMs: clock.monotonic() + this.#options.freshMs });
    return said.digest;
  }

  async #ask(
    image: ImageReference,
    signal: AbortSignal,
  ): Promise<{ digest: string } | "none" | "away"> {
    const { clock, log, head } = this.#deps;
    const { registry } = image;
    if (clock.monotonic() < (this.#awayUntilMs.get(registry) ?? 0)) return "away";
    const late = new AbortController();
    const timely = clock.after(this.#options.patienceMs, () => late.abort(new Error("late")));
    try {
      return await head(image, { signal: AbortSignal.any([signal, late.signal]) });
    } catch (cause) {
      signal.throwIfAborted();
      const code = cause instanceof PrestageError ? cause.code : "TIMEOUT";
      if (code === "NOT_FOUND") return "none";
      log.debug({ err: cause, image: imageUrl(image) }, "tag as last known");
      // A refusal is of one repository; the registry itself is there.
      if (code !== "FORBIDDEN") this.#awayUntilMs.set(registry, clock.monotonic() + AWAY_MS);
      return "away";
    } finally {
      timely();
    }
  }
}

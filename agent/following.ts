/**
 * Looks after the tags that the coordinator handed to this host: when a URL has another revision,
 * its content becomes a version, named after the revision, and the tag moves. What fails is tried
 * again later and later.
 */
import type { ArtifactRef } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import { type FollowOrder, type FollowState, followKey } from "../shared/follow.ts";
import type { Clock } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import type { Random } from "../shared/runtime/random.ts";
import { TaskGroup } from "../shared/runtime/tasks.ts";
import { type Publishing, versionOf } from "./publishing.ts";
import type { Sources } from "./sources/sources.ts";

export type FollowingDeps = {
  clock: Clock;
  random: Random;
  log: Log;
  sources: Pick<Sources, "revision">;
  publishing: Pick<Publishing, "fromUrl">;
  /** Whether the coordinator is there: without it nothing can be published. */
  connected(): boolean;
  /** Moves a tag to a version that is published already; false when there is none such. */
  moveTag(ref: ArtifactRef, tag: string): Promise<boolean>;
};

type Watch = {
  order: FollowOrder;
  state: FollowState | null;
  dueMs: number;
  /** Aborted when it is no longer ours. */
  stop: AbortController;
  busy: boolean;
};

/** Between looks at what is due; the first also while the coordinator is away. */
const PAUSE_MS_MIN = 1_000;
const PAUSE_MS_MAX = 60_000;
/** Looks at once; each may bring a whole version. */
const BUSY_MAX = 2;
const BACKOFF_MS_MAX = 3_600_000;

export class Following {
  readonly #deps: FollowingDeps;
  readonly #watches = new Map<string, Watch>();
  #changed: () => void = () => {};
  #wake: () => void = () => {};

  constructor(deps: FollowingDeps) {
    this.#deps = deps;
  }

  /** Called when a look ended otherwise than the one before. */
  onChange(changed: () => void): void {
    this.#changed = changed;
  }

  /** All that this host looks after from now on. */
  set(orders: readonly FollowOrder[]): void {
    const keep = new Map(orders.map((order) => [followKey(order), order]));
    for (const [key, watch] of this.#watches) {
      if (keep.get(key)?.url === watch.order.url) continue;
      watch.stop.abort(new Error("no longer followed here"));
      this.#watches.delete(key);
    }
    for (const [key, order] of keep) {
      const known = this.#watches.get(key);
      if (known) {
        known.order = order;
        known.dueMs = Math.min(known.dueMs, this.#deps.clock.monotonic() + order.everyMs);
      } else this.#watches.set(key, this.#watch(order));
    }
    this.#wake();
  }

  states(): FollowState[] {
    return [...this.#watches.values()].flatMap(({ state }) => (state ? [state] : []));
  }

  async run(signal: AbortSignal): Promise<void> {
    const looks = new TaskGroup(signal);
    try {
      while (!signal.aborted) {
        this.#startDue(looks);
        await this.#pause(signal);
      }
    } finally {
      looks.stop();
      await looks.done();
    }
  }

  /** Until something is due, or what is looked after has changed. */
  async #pause(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const now = this.#deps.clock.monotonic();
    const due = [...this.#watches.values()].flatMap((w) => (w.busy ? [] : [w.dueMs - now]));
    const waitMs = Math.min(PAUSE_MS_MAX, Math.max(PAUSE_MS_MIN, Math.min(...due)));
    const cancel = this.#deps.clock.after(waitMs, resolve);
    const stop = () => resolve();
    signal.addEventListener("abort", stop, { once: true });
    this.#wake = resolve;
    await promise;
    signal.removeEventListener("abort", stop);
    cancel();
  }

  #startDue(looks: TaskGroup): void {
    if (!this.#deps.connected()) return;
    const now = this.#deps.clock.monotonic();
    for (const [key, watch] of this.#watches) {
      if (looks.size >= BUSY_MAX) return;
      if (watch.busy || watch.dueMs > now) continue;
      watch.busy = true;
      looks.start(`follow ${key}`, (signal) => this.#look(watch, signal));
    }
  }

  async #look(watch: Watch, stopped: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([stopped, watch.stop.signal]);
    const before = watch.state;
    const { name, tag, url } = watch.order;
    const base = { name, tag, url };
    const lookedMs = () => this.#deps.clock.now();
    try {
      const seen = await this.#bringUp(watch, signal);
      const well = { failures: 0, code: null, message: null };
      watch.state = { ...base, ...seen, ...well, lookedMs: lookedMs() };
    } catch (cause) {
      if (signal.aborted) return;
      const failures = (before?.failures ?? 0) + 1;
      const code = cause instanceof PrestageError ? cause.code : "INTERNAL";
      const message = cause instanceof Error ? cause.message.slice(0, 500) : String(cause);
      const { revision = null, version = null } = before ?? {};
      watch.state = { ...base, revision, version, failures, code, message, lookedMs: lookedMs() };
      this.#deps.log.warn(
        { err: cause, follow: followKey(base), failures },
        "look at source failed",
      );
    } finally {
      watch.busy = false;
      watch.dueMs = this.#deps.clock.monotonic() + this.#waitMs(watch);
      this.#wake();
    }
    if (before?.revision !== watch.state.revision || before?.failures !== watch.state.failures)
      this.#changed();
  }

  /** Publishes what is new; says what the tag means then. */
  async #bringUp(
    { order, state }: Watch,
    signal: AbortSignal,
  ): Promise<{ revision: string; version: string }> {
    const { sources, publishing, moveTag, log } = this.#deps;
    const { name, tag, url } = order;
    const revision = await sources.revision(url, { signal });
    const version = versionOf(revision);
    if (revision === (state?.revision ?? order.revision)) return { revision, version };
    if (await moveTag({ name, version }, tag)) return { revision, version };
    const what = { name, version: null, tags: [tag], keep: true };
    const published = await publishing.fromUrl(url, what, () => {}, signal);
    log.info({ name, tag, version: published.version }, "followed tag moved");
    return { revision: published.revision, version: published.version };
  }

  /** A tenth more or less, so that a fleet does not look at once; doubled with each failure. */
  #waitMs({ order, state }: Watch): number {
    const doubled = order.everyMs * 2 ** Math.min(20, state?.failures ?? 0);
    const waitMs = Math.min(doubled, Math.max(order.everyMs, BACKOFF_MS_MAX));
    return waitMs * (0.9 + 0.2 * this.#deps.random.next());
  }

  #watch(order: FollowOrder): Watch {
    const dueMs = this.#deps.clock.monotonic();
    return { order, state: null, dueMs, stop: new AbortController(), busy: false };
  }
}

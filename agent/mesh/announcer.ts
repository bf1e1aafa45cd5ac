/**
 * Tells the site what changed here: the first change at once, more of them together in one message
 * a little later, and everything once in a while.
 */
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import { risingStart } from "./store/starts.ts";
import type { Said } from "./transfer/wants.ts";
import { ANNOUNCEMENT_BYTES_MAX, encodeAnnouncement, encodeEntry } from "./wire/gossip.ts";

const WHOLE_EVERY_MS = 30_000;
/** Between two messages while transfers run: each is verified by every host of the site. */
const SPACING_MS = 300;
/**
 * The same when there is only more of what was said, for each other host of the site: neighbours
 * hear of that directly, and everybody gets what everybody says.
 */
const PROGRESS_SPACING_MS = 500;
const PROGRESS_SPACING_MS_MIN = 2_000;
const PROGRESS_SPACING_MS_MAX = 10_000;
/** What changes within so long is said together. */
const GATHER_MS = 10;

export type AnnouncerDeps = {
  self: { host: string; site: string };
  clock: Clock;
  log: Log;
  publish: (bytes: Uint8Array) => Promise<void>;
  /** What is to be said about one version, or about all. */
  state: (manifestHash: string) => Said;
  ids: () => Iterable<string>;
  /** Hosts of the site that hear it. */
  others: () => number;
};

export class Announcer {
  readonly #deps: AnnouncerDeps;
  #startedMs: number;
  readonly #changed = new Set<string>();
  readonly #progressed = new Set<string>();
  /** What was said last of each version. */
  #said = new Map<string, string>();
  #soon: (() => void) | null = null;
  #progressAtMs = 0;
  #sequence = 0;
  #wholeAtMs = 0;
  #notBeforeMs = 0;

  constructor(deps: AnnouncerDeps) {
    this.#deps = deps;
    this.#startedMs = deps.clock.now();
  }

  /** Learns of the starts before this one. Call first. */
  async load(dir: string): Promise<void> {
    this.#startedMs = await risingStart(dir, this.#deps);
  }

  changed(manifestHash: string): void {
    this.#changed.add(manifestHash);
    this.#soon ??= this.#deps.clock.after(GATHER_MS, () => {
      this.#soon = null;
      this.tick().catch((cause: unknown) => this.#deps.log.error({ cause }, "nothing announced"));
    });
  }

  /** More of the version is here. */
  progressed(manifestHash: string): void {
    this.#progressed.add(manifestHash);
  }

  /** The version is here whole: others need not wait to hear of it. */
  completed(manifestHash: string): void {
    this.#changed.add(manifestHash);
    this.#notBeforeMs = 0;
  }

  /** Says everything at the next occasion: somebody new listens. */
  whole(): void {
    this.#wholeAtMs = 0;
  }

  /** Says what is due. Call some ten times a second. */
  async tick(): Promise<void> {
    const nowMs = this.#deps.clock.monotonic();
    const whole = nowMs >= this.#wholeAtMs;
    if (this.#progressed.size > 0 && nowMs >= this.#progressAtMs) {
      for (const id of this.#progressed) this.#changed.add(id);
      this.#progressed.clear();
      const spacingMs = Math.max(
        PROGRESS_SPACING_MS_MIN,
        PROGRESS_SPACING_MS * this.#deps.others(),
      );
      this.#progressAtMs = nowMs + Math.min(PROGRESS_SPACING_MS_MAX, spacingMs);
    }
    if (!whole && (this.#changed.size === 0 || nowMs < this.#notBeforeMs)) return;
    this.#notBeforeMs = nowMs + SPACING_MS;
    const ids = new Set(whole ? this.#deps.ids() : this.#changed);
    this.#changed.clear();
    if (whole) this.#wholeAtMs = nowMs + WHOLE_EVERY_MS;
    const { host, site } = this.#deps.self;
    const entries = [...ids].map((id) => encodeEntry(this.#deps.state(id)));
    if (whole) this.#said.clear();
    const news = entries.filter((entry) => this.#isNews(entry.id, JSON.stringify(entry)));
    if (!whole && news.length === 0) return;
    const head = { host, site, startedMs: this.#startedMs, sequence: this.#sequence++, whole };
    const bytes = encodeAnnouncement(head, news);
    if (bytes.length > ANNOUNCEMENT_BYTES_MAX) {
      this.#deps.log.warn({ bytes: bytes.length }, "announcement too long, not sent");
      this.#said.clear();
      return;
    }
    try {
      await this.#deps.publish(bytes);
    } catch (cause) {
      this.#deps.log.debug({ cause }, "announcement not sent");
      this.whole();
    }
  }

  #isNews(id: string, said: string): boolean {
    if (this.#said.get(id) === said) return false;
    this.#said.set(id, said);
    return true;
  }
}

/** Lets only announcements through that are newer than the last one of the same host. */
export class Newest {
  readonly #last = new Map<string, { startedMs: number; sequence: number }>();

  accepts(a: { host: string; startedMs: number; sequence: number }): boolean {
    const last = this.#last.get(a.host);
    const newer =
      !last ||
      a.startedMs > last.startedMs ||
      (a.startedMs === last.startedMs && a.sequence > last.sequence);
    if (newer) this.#last.set(a.host, { startedMs: a.startedMs, sequence: a.sequence });
    return newer;
  }

  forget(host: string): void {
    this.#last.delete(host);
  }
}

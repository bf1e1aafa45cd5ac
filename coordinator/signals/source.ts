/**
 * One source that is looked at again and again: fetched, read, its events handed over. What was
 * last good stays, in the store as well: a source that is away, or a restart, loses no event.
 */
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Random } from "../../shared/runtime/random.ts";
import type { SignalEvent } from "./event.ts";
import {
  addressOf,
  type Fetched,
  type FetchOptions,
  fetchSource,
  type Validators,
} from "./fetch.ts";
import { afterPoll, NEVER_POLLED, type PollResult, type PollState } from "./poll.ts";
import { type ReadRequest, readEvents } from "./reader.ts";
import type { SignalSettings, SignalSource } from "./settings.ts";

export type PolledSource = Exclude<SignalSource, { type: "webhook" }>;
export type KeptCopy = Validators & { body: Uint8Array; fetchedMs: number; address: string };

export type SourceDeps = {
  clock: Clock;
  /** Events lie on this one. */
  demandClock: Clock;
  random: Random;
  log: Log;
  env: FetchOptions["env"];
  limits: Pick<SignalSettings, "fetchBytesMax" | "fetchTimeoutMs">;
  kept(): KeptCopy | null;
  keep(copy: KeptCopy): Promise<void>;
  /** All events in the time around now, each time they were read. */
  events(events: SignalEvent[]): Promise<void>;
  /** After each look. */
  looked(result: "new" | "unchanged" | "failed", seconds: number): void;
};

const DAY_MS = 86_400_000;
/** Events are read that far back and ahead of now, and anew before that runs out. */
export const PAST_MS = 28 * DAY_MS;
const AHEAD_MS = 45 * DAY_MS;
const REREAD_MS = 6 * 3_600_000;
const HOLIDAYS_POLL_MS = REREAD_MS;
const START_SPREAD_MS = 1_000;

export class PolledSignals {
  readonly #deps: SourceDeps;
  readonly source: PolledSource;
  #state: PollState = NEVER_POLLED;
  #copy: KeptCopy | null = null;
  #readMs: number | null = null;
  #problems: readonly string[] = [];
  nextMs: number | null = null;

  constructor(source: PolledSource, deps: SourceDeps) {
    this.source = source;
    this.#deps = deps;
  }

  get state(): PollState {
    return this.#state;
  }

  /** What was left out when it was last read. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  get address(): string {
    const { source } = this;
    if (source.type !== "holidays") return addressOf(source);
    return [source.country.toUpperCase(), source.state, source.region].filter(Boolean).join("-");
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#deps;
    await this.#restore(signal);
    let waitMs = random.next() * Math.min(START_SPREAD_MS, this.#pollMs);
    while (!signal.aborted) {
      this.nextMs = clock.now() + waitMs;
      try {
        await clock.sleep(waitMs, { signal });
        waitMs = await this.#look(signal);
      } catch (cause) {
        if (!signal.aborted) throw cause;
      }
    }
  }

  get #pollMs(): number {
    return this.source.type === "holidays" ? HOLIDAYS_POLL_MS : this.source.pollMs;
  }

  /** A copy of another address (the config was changed) is not this source's. */
  async #restore(signal: AbortSignal): Promise<void> {
    const copy = this.#deps.kept();
    if (!copy || copy.address !== this.address) return;
    try {
      await this.#read(copy, signal);
      this.#copy = copy;
      this.#state = { ...this.#state, okMs: copy.fetchedMs };
    } catch (cause) {
      if (signal.aborted) return;
      this.#deps.log.warn({ source: this.source.name, err: cause }, "kept copy not readable");
    }
  }

  /** One look; gives how long to wait for the next. */
  async #look(signal: AbortSignal): Promise<number> {
    const { clock, random, log, looked } = this.#deps;
    const startMs = clock.monotonic();
    const result = await this.#attempt(signal);
    const before = this.#state;
    const nowMs = clock.now();
    const next = afterPoll(before, result.poll, { nowMs, pollMs: this.#pollMs, random });
    this.#state = next.state;
    looked(result.what, (clock.monotonic() - startMs) / 1000);
    const { name } = this.source;
    if (!result.poll.ok && before.failures === 0)
      log.warn({ source: name, code: result.poll.code }, result.poll.message);
    if (result.poll.ok && before.failures > 0) log.info({ source: name }, "source is back");
    return next.waitMs;
  }

  async #attempt(signal: AbortSignal) {
    try {
      const fetched = await this.#fetch(signal);
      if (fetched.kind === "new") {
        const { clock } = this.#deps;
        const { body, etag, lastModified } = fetched;
        const address = this.address;
        const copy = { body, etag, lastModified, address, fetchedMs: clock.now() };
        await this.#read(copy, signal);
        this.#copy = copy;
        await this.#deps.keep(copy);
      } else if (this.#copy && this.#demandNow() - (this.#readMs ?? 0) > REREAD_MS)
        await this.#read(this.#copy, signal);
      return { what: fetched.kind, poll: { ok: true, maxAgeMs: fetched.maxAgeMs } } as const;
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      return { what: "failed", poll: failure(cause) } as const;
    }
  }

  async #fetch(signal: AbortSignal): Promise<Fetched> {
    const { clock, env, limits } = this.#deps;
    if (this.source.type === "holidays") {
      const none = { etag: null, lastModified: null, maxAgeMs: null };
      return { kind: "new", body: new Uint8Array(0), ...none };
    }
    const { etag = null, lastModified = null } = this.#copy ?? {};
    return fetchSource(
      this.source,
      { etag, lastModified },
      { clock, signal, env, bytesMax: limits.fetchBytesMax, timeoutMs: limits.fetchTimeoutMs },
    );
  }

  async #read({ body }: KeptCopy, signal: AbortSignal): Promise<void> {
    const { clock, limits, events } = this.#deps;
    const nowMs = this.#demandNow();
    const span = { fromMs: nowMs - PAST_MS, toMs: nowMs + AHEAD_MS };
    const request = requestOf(this.source, body, span);
    const timeoutMs = limits.fetchTimeoutMs;
    const read = await readEvents(request, { clock, timeoutMs, signal });
    this.#problems = read.problems;
    this.#readMs = nowMs;
    await events(read.events);
  }

  #demandNow(): number {
    return this.#deps.demandClock.now();
  }
}

function requestOf(
  source: PolledSource,
  body: Uint8Array,
  span: { fromMs: number; toMs: number },
): ReadRequest {
  switch (source.type) {
    case "calendar":
      return { ...span, kind: "calendar", body, timeZone: source.timeZone };
    case "feed":
      return { ...span, kind: "feed", body, durationMs: source.durationMs };
    case "holidays": {
      const { country, state, region, kinds, timeZone } = source;
      return { ...span, kind: "holidays", of: { country, state, region, kinds, timeZone } };
    }
  }
}

function failure(cause: unknown): PollResult {
  if (!(cause instanceof PrestageError)) throw cause;
  const { retryAfterMs } = cause.details;
  return {
    ok: false,
    code: cause.code,
    message: cause.message,
    retryAfterMs: typeof retryAfterMs === "number" ? retryAfterMs : null,
  };
}

/** Carries out what the transfer core decides: asks peers and the origin, verifies, stores. */
import { hash as digest } from "node:crypto";
import { unreachable } from "../../shared/runtime/assert.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { TaskGroup } from "../../shared/runtime/tasks.ts";
import type { Exchange } from "./exchange.ts";
import { Rate } from "./rate.ts";
import type { Store } from "./store.ts";
import type { Transfer } from "./transfer.ts";
import { type Answer, type Effect, ORIGIN, type TransferEvent } from "./wants.ts";

/** Where chunks come from when no peer has them; `agent/sources/http.ts` is one. */
export type OriginSource = {
  fetchRange(
    range: { originUrl: string; path: string; offset: number; bytes: number },
    options: { signal: AbortSignal },
  ): Promise<Uint8Array>;
};

export type FetcherDeps = {
  clock: Clock;
  log: Log;
  transfer: Transfer;
  store: Store;
  exchange: Exchange;
  source: OriginSource;
  onComplete: (manifestHash: string) => void;
  onChanged: (manifestHash: string) => void;
};
type Fetched = { hash: string; from: string; foreground: boolean };

export class Fetcher {
  readonly #deps: FetcherDeps;
  readonly #group: TaskGroup;
  readonly #underWay = new Map<string, AbortController>();
  readonly #rates = { peer: new Rate(), origin: new Rate() };
  readonly counters = {
    peerBytes: 0,
    originBytes: 0,
    foregroundBytes: 0,
    verifiedChunks: 0,
    refetchedChunks: 0,
    corruptChunks: 0,
  };

  constructor(deps: FetcherDeps, group: TaskGroup) {
    this.#deps = deps;
    this.#group = group;
  }

  dispatch(event: TransferEvent): void {
    const effects = this.#deps.transfer.step(event, this.#deps.clock.monotonic());
    for (const effect of effects) this.#perform(effect);
  }

  /** Bytes per second while something was under way, recently. */
  rates(): { peerBytesPerSecond: number; originBytesPerSecond: number } {
    return {
      peerBytesPerSecond: this.#rates.peer.bytesPerSecond,
      originBytesPerSecond: this.#rates.origin.bytesPerSecond,
    };
  }

  tick(): void {
    const nowMs = this.#deps.clock.monotonic();
    const { peers, origin } = this.#deps.transfer.underWay;
    this.#rates.peer.sample(this.counters.peerBytes, peers > 0, nowMs);
    this.#rates.origin.sample(this.counters.originBytes, origin > 0, nowMs);
    this.dispatch({ type: "tick" });
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case "request":
        this.#start(effect.hash, effect.host, effect.foreground, (signal) =>
          this.#askPeer(effect, signal),
        );
        return;
      case "origin":
        this.#start(effect.hash, ORIGIN, effect.fg, (signal) => this.#askOrigin(effect, signal));
        return;
      case "cancel":
        this.#underWay.get(`${effect.from} ${effect.hash}`)?.abort(new Error("not needed"));
        return;
      case "complete":
        this.#deps.onComplete(effect.id);
        return;
      case "shun":
        this.#deps.log.warn({ host: effect.host }, "peer sends wrong chunks and is shunned");
        return;
      case "announce":
        this.#deps.onChanged(effect.id);
        return;
      default:
        unreachable(effect);
    }
  }

  async #askPeer(
    effect: Extract<Effect, { type: "request" }>,
    signal: AbortSignal,
  ): Promise<Uint8Array | Answer | "cancelled"> {
    const { host, hash, bytes, foreground } = effect;
    const what = { kind: "chunk" as const, hash, bytes, foreground };
    const reply = await this.#deps.exchange.ask(host, what, { signal });
    return reply.ok ? reply.bytes : reply.reason;
  }

  async #askOrigin(
    effect: Extract<Effect, { type: "origin" }>,
    signal: AbortSignal,
  ): Promise<Uint8Array | Answer> {
    const tree = this.#deps.store.get(effect.id);
    const originUrl = tree?.manifest.originUrl;
    if (!tree || !originUrl) return "failed";
    try {
      const range = { originUrl, ...tree.range(effect.position) };
      return await this.#deps.source.fetchRange(range, { signal });
    } catch (cause) {
      if (!signal.aborted) this.#deps.log.warn({ cause, originUrl }, "origin fetch failed");
      return "failed";
    }
  }

  #start(
    hash: string,
    from: string,
    foreground: boolean,
    fetch: (signal: AbortSignal) => Promise<Uint8Array | Answer | "cancelled">,
  ): void {
    const key = `${from} ${hash}`;
    const cancel = new AbortController();
    this.#underWay.set(key, cancel);
    this.#group.start(`fetch ${key}`, async (stopped) => {
      const stop = () => cancel.abort(stopped.reason);
      stopped.addEventListener("abort", stop, { once: true });
      const got = await fetch(cancel.signal);
      stopped.removeEventListener("abort", stop);
      if (this.#underWay.get(key) === cancel) this.#underWay.delete(key);
      if (got instanceof Uint8Array) {
        await this.#take({ hash, from, foreground }, got);
        return;
      }
      if (got === "cancelled" || cancel.signal.aborted) return;
      this.dispatch({ type: "answer", hash, from, result: got });
    });
  }

  /** Verified, then written, then said to be held: in this order. */
  async #take(fetched: Fetched, bytes: Uint8Array): Promise<void> {
    const { hash, from, foreground } = fetched;
    const answer = (result: Answer) => this.dispatch({ type: "answer", hash, from, result });
    if (digest("sha256", bytes, "hex") !== hash) {
      this.counters.corruptChunks++;
      this.#deps.log.warn({ from, hash }, "wrong chunk received");
      return answer("bad");
    }
    if (from === ORIGIN) this.counters.originBytes += bytes.length;
    else this.counters.peerBytes += bytes.length;
    if (foreground) this.counters.foregroundBytes += bytes.length;
    let written: "new" | "held" | "nowhere";
    try {
      written = await this.#deps.store.writeChunk(hash, bytes);
    } catch (cause) {
      this.#deps.log.error({ cause, hash }, "chunk could not be written");
      return answer("failed");
    }
    if (written === "new") this.counters.verifiedChunks++;
    if (written === "held") this.counters.refetchedChunks++;
    if (!foreground) this.#deps.store.noteStaged(hash, bytes.length);
    answer("ok");
  }
}

/** Carries out what the transfer core decides: asks peers and the origin, verifies, stores. */
import { hash as digest } from "node:crypto";
import { PrestageError } from "../../shared/errors.ts";
import { unreachable } from "../../shared/runtime/assert.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { TaskGroup } from "../../shared/runtime/tasks.ts";
import { Rate } from "./rate.ts";
import type { Steps } from "./steps.ts";
import type { HotChunks } from "./store/hot-chunks.ts";
import type { Provenance } from "./store/provenance.ts";
import type { Store } from "./store/store.ts";
import { UNIT_REQUESTS } from "./transfer/backlog.ts";
import { Taking } from "./transfer/taking.ts";
import type { Transfer } from "./transfer/transfer.ts";
import { Units } from "./transfer/units.ts";
import { type Answer, type Effect, ORIGIN, type TransferEvent } from "./transfer/wants.ts";
import type { Question, Reply } from "./wire/client.ts";
import type { Exchange } from "./wire/exchange.ts";
import { PACE_MAX } from "./wire/frames.ts";
import { wireBytes } from "./wire/overhead.ts";
import { Pace } from "./wire/pace.ts";
import { Pacing } from "./wire/pacing.ts";

/** Where chunks come from when no peer has them; `agent/sources/http.ts` is one. */
export type OriginSource = {
  fetchRange(
    range: { originUrl: string; path: string; offset: number; bytes: number },
    options: { signal: AbortSignal; pace?: ReadingPace },
  ): Promise<Uint8Array>;
};

/** How fast may be read what is not urgent. */
export type ReadingPace = {
  readonly bytesPerSecond: number;
  /** Resolves when so many bytes more may come. */
  wait(bytes: number, signal: AbortSignal): Promise<void>;
};

export type FetcherDeps = {
  clock: Clock;
  log: Log;
  transfer: Transfer;
  store: Store;
  hot: HotChunks;
  exchange: Exchange;
  source: OriginSource;
  steps: Steps;
  provenance: Provenance;
  /** Whether a host is of another site. */
  isOutside: (host: string) => boolean;
  onComplete: (manifestHash: string) => void;
  onChanged: (manifestHash: string) => void;
  /** A chunk came and the disk did not take it. */
  onUnwritten: (chunkHash: string, cause: unknown) => void;
  onHave: (have: { id: string; unit: number; hosts: string[] }) => void;
};
type Asked = Extract<Effect, { type: "request" | "origin" }>;
type FetchChunk = (
  position: number,
  signal: AbortSignal,
) => Promise<Uint8Array | Answer | "cancelled">;
/** A manifest or patches: what they are is known only when they come. */
const BESIDES_BYTES = 256 << 10;
/** Of a budget; the rest is for handshakes, requests and gossip, and for shares that change hands. */
const DATA_SHARE = 0.985;
/** What comes back for each byte sent: an empty frame for every other full one, and some more. */
const ACK_SHARE = 0.03;
const CHANGED = "origin changed since it was published";
/** A request that gets nowhere holds nothing up for longer. */
const BEGIN_MS_MAX = 3_000;

export class Fetcher {
  readonly #deps: FetcherDeps;
  readonly #group: TaskGroup;
  readonly #underWay = new Map<string, AbortController>();
  readonly #held = new Set<string>();
  readonly #pacing: Pacing;
  /** Of what the origin sends in the background. */
  readonly #originPace: Pace;
  readonly #reading: ReadingPace;
  /** Bytes asked for in the background besides chunks, and still to come, by host. */
  readonly #besides = new Map<string, number>();
  #incoming = Number.POSITIVE_INFINITY;
  #yields = false;
  readonly #taking = new Taking();
  /** The most of late that this host sends to others. */
  readonly #sent = { atMs: 0, bytes: 0, bytesPerSecond: 0 };
  /** Until when staging makes way for requests whose chunks are not asked for yet. */
  readonly #begun = new Set<{ untilMs: number }>();
  /** What the origin of a version said last, by manifest, while it is wanted and does not give. */
  readonly #originFailures = new Map<string, unknown>();
  readonly #rates = { peer: new Rate(), origin: new Rate() };
  readonly counters = {
    peerBytes: 0,
    originBytes: 0,
    foregroundBytes: 0,
    verifiedChunks: 0,
    refetchedChunks: 0,
    corruptChunks: 0,
    shunnedPeers: 0,
  };

  readonly #isOutside = (host: string) => host === ORIGIN || this.#deps.isOutside(host);

  constructor(deps: FetcherDeps, group: TaskGroup) {
    this.#deps = deps;
    this.#group = group;
    const pace = new Pace(deps.clock);
    this.#originPace = pace;
    this.#reading = {
      get bytesPerSecond() {
        return pace.bytesPerSecond;
      },
      wait: (bytes, signal) => pace.wait(wireBytes(bytes), signal),
    };
    this.#pacing = new Pacing({
      tell: (host, rate) => this.#tellPace(host, rate),
      isOutside: this.#isOutside,
      receivedBytes: (host) => (host === ORIGIN ? null : deps.exchange.receivedBytes(host)),
    });
  }

  dispatch(event: TransferEvent): void {
    const { transfer, clock } = this.#deps;
    const nowMs = clock.monotonic();
    const effects = transfer.step(event, nowMs);
    if (event.type === "unwant") this.#originFailures.delete(event.id);
    if (this.#makesWay(nowMs) !== this.#yields || event.type === "rate") this.#updatePaces();
    for (const effect of effects) this.#perform(effect);
  }

  /** Why nothing of a version comes. */
  unavailable(manifestHash: string): PrestageError {
    const cause = this.#originFailures.get(manifestHash);
    const why = cause instanceof PrestageError ? `: ${cause.message}` : "";
    const message = `no peer and no origin gives the missing chunks${why}`;
    return new PrestageError("UNAVAILABLE", message, { cause });
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
    this.#noteSent(nowMs);
    this.#deps.hot.tick();
    this.#updatePaces();
    this.#tellHeld();
    this.dispatch({ type: "tick" });
  }

  /** Staging makes way for a request from here on; call what it gives when it has its manifest. */
  begin(foreground: boolean): () => void {
    if (!foreground) return () => {};
    const begun = { untilMs: this.#deps.clock.monotonic() + BEGIN_MS_MAX };
    this.#begun.add(begun);
    this.#updatePaces();
    return () => {
      this.#begun.delete(begun);
      this.#updatePaces();
    };
  }

  #makesWay(nowMs: number): boolean {
    const begins = this.#begun.values().some(({ untilMs }) => nowMs < untilMs);
    return begins || this.#deps.transfer.yields(nowMs);
  }

  /** How fast what is staged may come, in all and from outside this host's site. */
  setRate(bytesPerSecond: number, incoming: number): void {
    this.#incoming = incoming;
    this.dispatch({ type: "rate", bytesPerSecond });
  }

  /** Whether what is staged here may come from outside this host's site. */
  get takes(): boolean {
    return this.#taking.takes(this.#deps.clock.monotonic());
  }

  /** Whether all who send here go by the rate that was set last. */
  get settled(): boolean {
    return this.#pacing.settled;
  }

  /** A host goes by a rate it was told; null: the connection has ended. */
  paced(host: string, bytesPerSecond: number | null): void {
    if (bytesPerSecond === null) this.#pacing.gone(host);
    else if (this.#pacing.heard(host, bytesPerSecond)) this.#updatePaces();
  }

  /** Asks a host for something else than chunks; in the background within the budget. */
  async ask(host: string, what: Question, options: { signal: AbortSignal }): Promise<Reply> {
    const { exchange } = this.#deps;
    if (what.foreground) return exchange.ask(host, what, options);
    const count = (bytes: number) => {
      const open = (this.#besides.get(host) ?? 0) + bytes;
      if (open > 0) this.#besides.set(host, open);
      else this.#besides.delete(host);
    };
    count(BESIDES_BYTES);
    if (!this.#pacing.knows(host)) this.#updatePaces();
    const reply = await exchange.ask(host, what, options);
    count(-BESIDES_BYTES);
    return reply;
  }

  #updatePaces(): void {
    const { transfer, clock } = this.#deps;
    const nowMs = clock.monotonic();
    const { rate, open } = transfer.underWay;
    for (const [host, bytes] of this.#besides) open.set(host, (open.get(host) ?? 0) + bytes);
    const from = open.keys().some(this.#isOutside) ? "outside" : "site";
    this.#taking.note(open.size === 0 ? null : from, nowMs);
    this.#yields = this.#makesWay(nowMs);
    const data = Math.max(rate / 2, rate * DATA_SHARE - this.#sent.bytesPerSecond * ACK_SHARE);
    const total = this.#yields ? 0 : data;
    this.#pacing.update({ total, outside: this.#incoming * DATA_SHARE }, open, nowMs);
  }

  #noteSent(nowMs: number): void {
    const { sentBytes } = this.#deps.exchange;
    const seconds = Math.max(1, nowMs - this.#sent.atMs) / 1000;
    const rate = (sentBytes - this.#sent.bytes) / seconds;
    const slower = this.#sent.bytesPerSecond * Math.max(0, 1 - seconds);
    this.#sent.bytesPerSecond = Math.max(rate, slower);
    this.#sent.atMs = nowMs;
    this.#sent.bytes = sentBytes;
  }

  #tellPace(host: string, bytesPerSecond: number): void {
    if (host === ORIGIN) {
      this.#originPace.set(bytesPerSecond === PACE_MAX ? Number.POSITIVE_INFINITY : bytesPerSecond);
      queueMicrotask(() => this.paced(ORIGIN, bytesPerSecond));
    } else this.#deps.exchange.pace(host, bytesPerSecond);
  }

  /** Tells the core which versions are here whole, and which are no longer. */
  #tellHeld(): void {
    const gone = new Set(this.#held);
    for (const tree of this.#deps.store.all()) {
      if (!tree.active || gone.delete(tree.hash)) continue;
      this.#held.add(tree.hash);
      const { count: units } = Units.of(tree.chunks);
      this.dispatch({ type: "hold", id: tree.hash, units });
    }
    for (const id of gone) {
      this.#held.delete(id);
      this.dispatch({ type: "hold", id, units: 0 });
    }
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case "request":
        if (!effect.foreground && !this.#pacing.knows(effect.host)) this.#updatePaces();
        this.#start(effect, effect.host, (position, signal) =>
          this.#askPeer(effect, position, signal),
        );
        return;
      case "origin":
        if (!effect.foreground && !this.#pacing.knows(ORIGIN)) this.#updatePaces();
        this.#start(effect, ORIGIN, (position, signal) =>
          this.#askOrigin(effect, position, signal),
        );
        return;
      case "cancel":
        this.#underWay.get(key(effect.from, effect))?.abort(new Error("not needed"));
        return;
      case "complete":
        this.#originFailures.delete(effect.id);
        this.#deps.onComplete(effect.id);
        return;
      case "shun":
        this.counters.shunnedPeers++;
        this.#deps.log.warn({ host: effect.host }, "peer lies and is cut off");
        return;
      case "announce":
        this.#deps.onChanged(effect.id);
        return;
      case "have":
        this.#deps.onHave(effect);
        return;
      default:
        unreachable(effect);
    }
  }

  async #askPeer(
    { host, id, foreground }: Extract<Effect, { type: "request" }>,
    position: number,
    signal: AbortSignal,
  ): Promise<Uint8Array | Answer | "cancelled"> {
    const chunk = this.#deps.store.get(id)?.chunks[position];
    if (!chunk) return "failed";
    const what = { kind: "chunk" as const, hash: chunk.hash, bytes: chunk.bytes, foreground };
    const reply = await this.#deps.exchange.ask(host, what, { signal });
    return reply.ok ? reply.bytes : reply.reason;
  }

  async #askOrigin(
    { id, foreground }: Extract<Effect, { type: "origin" }>,
    position: number,
    signal: AbortSignal,
  ): Promise<Uint8Array | Answer> {
    const tree = this.#deps.store.get(id);
    const originUrl = tree?.manifest.originUrl;
    if (!tree || !originUrl) return "failed";
    try {
      const range = { originUrl, ...tree.range(position) };
      return await this.#deps.source.fetchRange(range, {
        signal,
        ...(foreground ? {} : { pace: this.#reading }),
      });
    } catch (cause) {
      if (!signal.aborted) {
        this.#deps.log.warn({ cause, originUrl }, "origin fetch failed");
        this.#originFailures.set(id, cause);
      }
      return "failed";
    }
  }

  /** Fetches what is missing of a unit, some chunks at once, and answers for it when all ended. */
  #start(asked: Asked, from: string, fetch: FetchChunk): void {
    const cancel = new AbortController();
    this.#underWay.set(key(from, asked), cancel);
    this.#group.start(`fetch ${key(from, asked)}`, async (stopped) => {
      const stop = () => cancel.abort(stopped.reason);
      stopped.addEventListener("abort", stop, { once: true });
      const { result, lies } = await this.#fetchAll(asked, from, fetch, cancel.signal);
      stopped.removeEventListener("abort", stop);
      if (this.#underWay.get(key(from, asked)) === cancel) this.#underWay.delete(key(from, asked));
      if (result === "cancelled" || (cancel.signal.aborted && result !== "bad")) return;
      const { id, unit, positions } = asked;
      this.dispatch({ type: "answer", id, unit, positions, from, result, lies });
    });
  }

  /** Tells of each chunk but the one that completes the unit; stops at the first failure. */
  async #fetchAll(
    asked: Asked,
    from: string,
    fetch: FetchChunk,
    signal: AbortSignal,
  ): Promise<{ result: Answer | "cancelled"; lies: number }> {
    const rest = [...asked.positions];
    const results: (Answer | "cancelled")[] = [];
    const failed = () => results.find((r) => r === "bad") ?? results.find((r) => r !== "ok");
    const lane = async () => {
      for (;;) {
        const position = failed() ? undefined : rest.shift();
        if (position === undefined) return;
        const { steps } = this.#deps;
        const got = await steps.time("fetch", () => fetch(position, signal), isFailure);
        const result =
          got instanceof Uint8Array ? await this.#take(asked, from, position, got) : got;
        results.push(result);
        if (result !== "ok") continue;
        if (signal.aborted) this.#stored(asked.id, position);
        else if (failed() || results.length < asked.positions.length)
          this.dispatch({ type: "part", id: asked.id, position, from });
      }
    };
    await Promise.all(Array.from({ length: Math.min(UNIT_REQUESTS, rest.length) }, lane));
    return { result: failed() ?? "ok", lies: results.filter((r) => r === "bad").length };
  }

  /** Takes a chunk that was made from an older one. Throws when it is not what it should be. */
  async patched(hash: string, bytes: Uint8Array, foreground: boolean): Promise<void> {
    const { store } = this.#deps;
    if (digest("sha256", bytes, "hex") !== hash) throw new Error("a patch makes another chunk");
    const written = await store.writeChunk(hash, bytes, { foreground });
    if (written !== "new") return;
    this.counters.verifiedChunks++;
    this.dispatch({ type: "stored", hash });
  }

  /** It came after it was called back: all the same it is here. */
  #stored(id: string, position: number): void {
    const hash = this.#deps.store.get(id)?.chunks[position]?.hash;
    if (hash !== undefined) this.dispatch({ type: "stored", hash });
  }

  /** Verified, then written, then said to be held: in this order. */
  async #take(asked: Asked, from: string, position: number, bytes: Uint8Array): Promise<Answer> {
    const hash = this.#deps.store.get(asked.id)?.chunks[position]?.hash;
    if (hash === undefined) return "failed";
    const { steps, store, provenance } = this.#deps;
    const right = await steps.time(
      "verify",
      () => digest("sha256", bytes, "hex") === hash,
      (same) => !same,
    );
    if (!right) {
      this.counters.corruptChunks++;
      const phrase = from === ORIGIN ? CHANGED : "wrong chunk received";
      this.#deps.log.warn({ from, hash }, phrase);
      if (from === ORIGIN)
        this.#originFailures.set(asked.id, new PrestageError("CORRUPT", CHANGED));
      this.#deps.hot.pool.giveBack(bytes);
      return "bad";
    }
    if (from === ORIGIN) {
      this.counters.originBytes += bytes.length;
      this.#originFailures.delete(asked.id);
    } else this.counters.peerBytes += bytes.length;
    if (asked.foreground) this.counters.foregroundBytes += bytes.length;
    let written: "new" | "held" | "nowhere";
    try {
      written = await steps.time("store", () => store.writeChunk(hash, bytes, asked));
    } catch (cause) {
      this.#deps.log.error({ cause, hash }, "chunk could not be written");
      this.#deps.onUnwritten(hash, cause);
      return "failed";
    }
    this.#deps.hot.put(hash, bytes);
    provenance.received(asked.id, from, bytes.length);
    if (written === "new") this.counters.verifiedChunks++;
    if (written === "held") this.counters.refetchedChunks++;
    if (!asked.foreground) store.noteStaged(hash, bytes.length);
    return "ok";
  }
}

function isFailure(got: Uint8Array | Answer | "cancelled"): boolean {
  return !(got instanceof Uint8Array) && got !== "cancelled";
}

function key(from: string, { id, unit }: { id: string; unit: number }): string {
  return `${from} ${id} ${unit}`;
}

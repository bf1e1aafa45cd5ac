/**
 * The mesh of one agent: holds what it is told to hold, gives out activated trees, swaps chunks
 * with the other members. Joins store, transfer core, exchange, gossip and libp2p node.
 */
import type { HoldArtifact, Member, SignedManifest } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { ELSEWHERE_MAX } from "../../shared/protocol/bodies.ts";
import { HOSTS_PUBLISH, type Publisher } from "../../shared/publishers.ts";
import { every } from "../../shared/runtime/clock.ts";
import { TaskGroup } from "../../shared/runtime/tasks.ts";
import { Announcer } from "./announcer.ts";
import { Fetcher } from "./fetcher.ts";
import { Hearing, saidOf } from "./hearing.ts";
import {
  Completions,
  Interest,
  type OrderState,
  Unwritten,
  type Waiter,
  Withdrawn,
} from "./interest.ts";
import { type MeshCounters, MeshMetrics } from "./mesh-metrics.ts";
import { type MeshDeps, type MeshOptions, NO_SITE_BUDGET } from "./mesh-options.ts";
import { obtain } from "./obtain.ts";
import { Seeder } from "./seeder.ts";
import { Serving } from "./serving.ts";
import { Signers } from "./signers.ts";
import { nodeDisk } from "./store/disk.ts";
import { type Holding, holdingOf, Pins } from "./store/holding.ts";
import { HotChunks } from "./store/hot-chunks.ts";
import { Provenance } from "./store/provenance.ts";
import { Store } from "./store/store.ts";
import type { Tree } from "./store/trees.ts";
import { TRANSFER_DEFAULTS } from "./transfer/options.ts";
import type { Liar } from "./transfer/reputation.ts";
import { Transfer } from "./transfer/transfer.ts";
import type { Channel } from "./wire/channel.ts";
import { Exchange } from "./wire/exchange.ts";
import { Haves } from "./wire/haves.ts";
import { MeshNetwork } from "./wire/network.ts";

const TICK_MS = 100;
const RECONCILE_MS = 500;
/** Those who send go by a rate, and each has something to send while more is asked for. */
const ASKED_AHEAD_MS = 2_000;
/** Nothing came and nothing is under way for so long: who waits is told, and so are orders. */
const UNAVAILABLE_MS = 10_000;

export class Mesh {
  readonly #deps: MeshDeps;
  readonly #group = new TaskGroup();
  readonly store: Store;
  readonly #network: MeshNetwork;
  readonly #hot: HotChunks;
  readonly #haves: Haves;
  readonly #exchange: Exchange;
  readonly #transfer: Transfer;
  readonly #fetcher: Fetcher;
  readonly #announcer: Announcer;
  readonly #seeder: Seeder;
  readonly #metrics: MeshMetrics;
  readonly #signers: Signers;
  readonly #hearing: Hearing;
  readonly #interests = new Map<string, Interest>();
  readonly pins = new Pins();
  readonly #provenance: Provenance;
  readonly #completions = new Completions();
  readonly #withdrawn = new Withdrawn();
  readonly #started = Promise.withResolvers<void>();
  /** A version was obtained, or could not be. */
  onSettled: () => void = () => {};
  #members = new Map<string, Member>();
  #ready = false;

  constructor(deps: MeshDeps, options: MeshOptions) {
    this.#deps = deps;
    const { clock, log, identity } = deps;
    this.#metrics = new MeshMetrics(deps.metrics, clock);
    this.#provenance = new Provenance(deps, options.dir);
    this.#signers = new Signers((reason) => this.#metrics.refusedManifest(reason));
    this.store = new Store(
      {
        clock,
        log,
        disk: options.disk ?? nodeDisk,
        isProtected: (hash) => this.#isProtected(hash),
        isWithPeers: (hash) => this.#transfer.hostsWith(hash).length > 0,
      },
      options,
    );
    this.#hot = new HotChunks(clock);
    this.#network = this.#makeNetwork(options);
    const isOutside = (host: string) => this.#members.get(host)?.site !== identity.site;
    const kept = { clock, store: this.store, hot: this.#hot, signers: this.#signers };
    this.#exchange = new Exchange({
      log,
      clock,
      dial: (host) => this.#network.dial(host),
      pool: this.#hot.pool,
      serve: new Serving({ self: identity.host, ...kept }).serve,
      heard: (host, have) => this.#hearing.have(host, have),
      paced: (...given) => this.#fetcher.paced(...given),
      isOutside,
    });
    this.#hearing = new Hearing({
      ...deps,
      store: this.store,
      exchange: this.#exchange,
      site: identity.site,
      members: () => this.#members,
      connected: (host) => this.#network.isConnected(host),
      dispatch: (event) => this.#fetcher.dispatch(event),
      fetches: (host, hash) => this.#transfer.fetching(hash) && this.#exchange.meet(host),
    });
    this.#haves = new Haves({ clock, exchange: this.#exchange });
    const random = deps.random.fork("transfer");
    const transfer = { ...TRANSFER_DEFAULTS, askedAheadMs: ASKED_AHEAD_MS };
    this.#transfer = new Transfer({ ...transfer, self: identity.host, random });
    this.#fetcher = new Fetcher(
      {
        ...kept,
        log,
        transfer: this.#transfer,
        exchange: this.#exchange,
        source: deps.source,
        steps: this.#metrics.steps,
        provenance: this.#provenance,
        isOutside,
        onComplete: (hash) => {
          this.#announcer.completed(hash);
          this.#completions.complete(hash);
        },
        onChanged: (hash) => this.#announcer.changed(hash),
        onUnwritten: (hash, cause) => this.#unwritten(hash, cause),
        onHave: (have) => {
          this.#announcer.progressed(have.id);
          this.#haves.tell(have);
        },
      },
      this.#group,
    );
    this.#announcer = new Announcer({
      self: identity,
      clock,
      log,
      publish: (bytes) => this.#network.publish(bytes),
      state: (hash) => saidOf(hash, this.store, this.#transfer),
      ids: () => new Set([...[...this.store.all()].map((t) => t.hash), ...this.#interests.keys()]),
      others: () => this.#hearing.others,
    });
    this.#seeder = new Seeder({
      ...kept,
      identity,
      pin: (hash) => this.pins.add(hash, "publish"),
      onComplete: (hash) => {
        this.#announcer.completed(hash);
        this.#provenance.activated(hash);
      },
    });
    this.#started.promise.catch(() => null); // `run` throws the same
  }

  /** Resolves when the store is read and the node listens. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  async run(signal: AbortSignal): Promise<void> {
    const stop = () => this.#group.stop(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    try {
      await this.store.open();
      await this.#signers.load(this.store);
      await this.#provenance.load();
      await this.#announcer.load(this.store.dir);
      await this.#network.start();
      this.#ready = true;
      this.#group.start("node", (inner) => this.#network.run(inner));
      this.#group.start("haves", (inner) => this.#haves.run(inner));
      this.#group.start("tick", (inner) =>
        every(this.#deps.clock, TICK_MS, inner, () => this.#tick()),
      );
      this.#group.start("reconcile", (inner) =>
        every(this.#deps.clock, RECONCILE_MS, inner, () => this.#reconcileAll()),
      );
      this.#started.resolve();
      if (signal.aborted) stop();
      await this.#group.done();
    } catch (cause) {
      this.#started.reject(cause);
      throw cause;
    } finally {
      signal.removeEventListener("abort", stop);
      const stopped = new PrestageError("UNAVAILABLE", "the mesh has stopped");
      for (const interest of this.#interests.values()) interest.rejectAll(stopped);
      await this.store.close();
    }
  }

  /** Multiaddrs for the membership record. */
  addresses(): string[] {
    return this.#network.addresses();
  }

  /** The allow-list, and whose signatures count; who is no longer on it is cut off at once. */
  setMembers(members: Member[], publishers: readonly Publisher[] = HOSTS_PUBLISH): void {
    const { host } = this.#deps.identity;
    const peers = members.map((m) => m.peerId);
    if (this.#signers.setPolicy(publishers, peers))
      for (const i of this.#interests.values()) i.retry();
    const before = this.#members;
    this.#members = new Map(members.filter((m) => m.host !== host).map((m) => [m.host, m]));
    this.#network.setMembers([...this.#members.values()]);
    for (const old of before.keys()) if (!this.#members.has(old)) this.#lost(old);
    this.#hearing.membersChanged();
  }

  /** What to have here, whole; fetched in the background, within the rate. */
  setHold(hold: HoldArtifact[]): void {
    const byHash = Map.groupBy(hold, (h) => h.manifestHash);
    for (const interest of this.#interests.values())
      for (const old of interest.holds)
        if (!hold.some((h) => h.orderId === old.orderId)) this.#withdraw(old);
    for (const { orderId } of hold) this.#withdrawn.delete(orderId);
    for (const [hash, interest] of this.#interests) interest.holds = byHash.get(hash) ?? [];
    for (const [hash, holds] of byHash) this.#interest(hash).holds = holds;
    for (const interest of [...this.#interests.values()]) this.#reconcile(interest);
  }

  /** Staging budgets on the real clock, bytes on the wire; 0 stops staging at once. */
  setRate(bytesPerSecond: number, site = NO_SITE_BUDGET): void {
    this.#exchange.leaving.set(site.outgoing);
    this.#fetcher.setRate(bytesPerSecond, site.incoming);
  }

  /**
   * The path of the activated tree, fetched if need be. Do not write below it. Throws UNAVAILABLE,
   * DISK_FULL, NOT_FOUND or the signal's reason.
   */
  async ensure(
    manifestHash: string,
    options: { priority: number; foreground: boolean; signal: AbortSignal; use?: boolean },
  ): Promise<string> {
    const { priority, foreground, signal, use = true } = options;
    signal.throwIfAborted();
    if (this.#group.signal.aborted) throw new PrestageError("UNAVAILABLE", "the mesh has stopped");
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const waiter: Waiter = { priority, foreground, resolve, reject };
    const interest = this.#interest(manifestHash);
    interest.waiters.add(waiter);
    interest.retryAtMs = 0;
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#reconcile(interest);
    try {
      const path = await promise;
      if (use) await this.markUsed(manifestHash);
      return path;
    } finally {
      signal.removeEventListener("abort", onAbort);
      interest.waiters.delete(waiter);
      this.#reconcile(interest);
    }
  }

  /** A directory as a version of this host; see `Seeder`. */
  publish(...given: Parameters<Seeder["directory"]>): Promise<SignedManifest> {
    return this.#seeder.directory(...given);
  }

  publishStream(...given: Parameters<Seeder["stream"]>): Promise<SignedManifest> {
    return this.#seeder.stream(...given);
  }

  /** A staged version was of use, so it is no waste when it is evicted. */
  markUsed(manifestHash: string): Promise<void> {
    return this.store.noteUsed(manifestHash);
  }

  /** Where the activated tree is; null when it is not here whole. */
  path(manifestHash: string): string | null {
    const tree = this.store.get(manifestHash);
    return tree?.active ? tree.root : null;
  }

  holdings(): Holding[] {
    return [...this.store.all()].map((tree) => holdingOf(tree, this.#provenance));
  }

  orderStates(): OrderState[] {
    const live = [...this.#interests.values()].flatMap((interest) =>
      interest.holds.map((hold) => interest.orderState(hold, this.store.get(hold.manifestHash))),
    );
    return [...live, ...this.#withdrawn.states];
  }

  counters(): MeshCounters {
    const { wastedBytes, unusedBytes } = this.store;
    const corruptChunks = this.#fetcher.counters.corruptChunks + this.store.corruptChunks;
    const own = { wastedBytes, unusedBytes, sentBytes: this.#exchange.sentBytes };
    const stagingSpentBytes = this.#transfer.spentBytes;
    return { ...this.#fetcher.counters, ...own, corruptChunks, stagingSpentBytes };
  }

  /** Whether all goes by the rate set last, other sites' hosts wait for it, it fetches from there. */
  get paced(): { settled: boolean; gives: boolean; takes: boolean } {
    const { settled, takes } = this.#fetcher;
    return { settled, gives: this.#exchange.gives, takes };
  }

  rates(): { peerBytesPerSecond: number; originBytesPerSecond: number } {
    return this.#fetcher.rates();
  }

  /** Whether somebody waits for a version now. */
  get busy(): boolean {
    return this.#interests.values().some((i) => i.running !== null && i.urgency().foreground);
  }

  liars(): Liar[] {
    return this.#transfer.reputation.liars();
  }

  connectedHosts(): string[] {
    return this.#network.connectedHosts;
  }

  #makeNetwork(options: MeshOptions): MeshNetwork {
    const { log } = this.#deps;
    const handlers = {
      opened: (channel: Channel) => this.#exchange.opened(channel),
      gossip: (bytes: Uint8Array, host: string) => this.#hearing.announcement(bytes, host),
      connected: (host: string) => this.#fetcher.dispatch({ type: "near", host, near: true }),
      disconnected: (host: string) => this.#lost(host),
      listener: () => this.#announcer.whole(),
      refused: (peerId: string) => {
        log.warn({ peerId }, "peer refused: not enrolled");
        this.#metrics.refused();
        this.#deps.onRefused(peerId);
      },
    };
    return new MeshNetwork(this.#deps, handlers, options);
  }

  #isProtected(hash: string): boolean {
    if (this.pins.has(hash)) return true;
    return this.#interests.get(hash)?.wanted === true && !this.#signers.reason(hash);
  }

  #interest(manifestHash: string): Interest {
    const known = this.#interests.get(manifestHash) ?? new Interest(manifestHash);
    this.#interests.set(manifestHash, known);
    return known;
  }

  async #tick(): Promise<void> {
    this.#fetcher.tick();
    this.#look();
    await this.#announcer.tick();
    await this.#provenance.save((hash) => this.store.get(hash) !== undefined);
  }

  /** Asks the coordinator who has what is brought in here. */
  #look(): void {
    const due = this.#transfer.looks(this.#deps.clock.monotonic());
    const looks = [...due.take(ELSEWHERE_MAX)];
    if (looks.length > 0) this.#group.start("look", (s) => this.#hearing.look(looks, s));
  }

  #reconcileAll(): void {
    for (const interest of [...this.#interests.values()]) this.#reconcile(interest);
    const nowMs = this.#deps.clock.monotonic();
    const sourceless = this.#transfer.sourceless(nowMs);
    for (const [hash, interest] of this.#interests) {
      if (this.#transfer.stuckMs(hash, nowMs) <= UNAVAILABLE_MS) continue;
      const bytes = this.store.get(hash)?.bytesHave ?? 0;
      interest.stuck(this.#fetcher.unavailable(hash), sourceless.includes(hash) ? bytes : null);
    }
    const inUse = (hash: string) =>
      this.pins.has(hash) || this.#interests.get(hash)?.running != null;
    for (const tree of this.#signers.forgetDistrusted(this.store.all(), inUse))
      this.#group.start(`drop ${tree.hash}`, () => this.#drop(tree));
    this.#metrics.update(this.counters(), this.store);
  }

  async #drop(tree: Tree): Promise<void> {
    try {
      await this.store.remove(tree);
    } catch (cause) {
      this.#deps.log.error({ cause, manifestHash: tree.hash }, "distrusted version still on disk");
    }
  }

  /** Starts, changes or ends the fetching of one version, as it is wanted now. */
  #reconcile(interest: Interest): void {
    const { manifestHash } = interest;
    const tree = this.store.get(manifestHash);
    if (!interest.wanted) {
      interest.running?.abort(new Error("not wanted any more"));
      this.#fetcher.dispatch({ type: "unwant", id: manifestHash });
      if (!interest.running) this.#interests.delete(manifestHash);
      return;
    }
    if (!this.#ready || this.#distrusted(interest)) return;
    if (interest.running) {
      this.#adjust(interest, tree);
      return;
    }
    if (tree?.active) {
      interest.done(tree.root);
      return;
    }
    if (!this.#signers.ready || this.#deps.clock.monotonic() < interest.retryAtMs) return;
    const running = new AbortController();
    interest.running = running;
    this.#group.start(`obtain ${manifestHash}`, async (stopped) => {
      const signal = AbortSignal.any([running.signal, stopped]);
      try {
        const urgency = () => interest.urgency();
        interest.done((await obtain(manifestHash, urgency, this.obtaining, signal)).root);
      } catch (cause) {
        const unwritten = running.signal.reason instanceof Unwritten;
        if (unwritten || !signal.aborted)
          this.#failed(interest, unwritten ? running.signal.reason.cause : cause);
      } finally {
        interest.running = null;
        this.onSettled();
        if (!stopped.aborted) this.#reconcile(interest);
      }
    });
  }

  /** What obtaining a version takes; for `Reader` too. */
  get obtaining() {
    return {
      clock: this.#deps.clock,
      store: this.store,
      hot: this.#hot,
      transfer: this.#transfer,
      fetcher: this.#fetcher,
      exchange: this.#exchange,
      signers: this.#signers,
      steps: this.#metrics.steps,
      provenance: this.#provenance,
      resolveManifest: this.#deps.resolveManifest,
      connectedHosts: () => this.#network.connectedHosts,
      names: (hash: string) => this.#interests.get(hash)?.holds.map((h) => h.ref.name) ?? [],
      look: () => this.#look(),
      completed: (hash: string, signal: AbortSignal) => this.#completions.wait(hash, signal),
    };
  }

  /** Tells the core when the urgency of what is under way has changed. */
  #adjust(interest: Interest, tree: Tree | undefined): void {
    const id = interest.manifestHash;
    if (!tree || this.#transfer.missing(id) === 0) return;
    const urgency = interest.urgencyIfNew();
    if (!urgency) return;
    const hasOrigin = tree.manifest.originUrl !== null;
    const want = { id, chunks: tree.chunks, missing: [], hasOrigin, ...urgency };
    this.#fetcher.dispatch({ type: "want", want });
  }

  /** Nothing more of it is fetched or given out; what runs from it goes on. */
  #distrusted(interest: Interest): boolean {
    const refusal = this.#signers.refusal(interest.manifestHash);
    if (!refusal) return false;
    interest.running?.abort(refusal);
    interest.code = refusal.code;
    this.#fetcher.dispatch({ type: "unwant", id: interest.manifestHash });
    interest.rejectAll(refusal);
    return true;
  }

  /** A chunk came and the disk did not take it: what lacks it stops, and tries again later. */
  #unwritten(chunkHash: string, cause: unknown): void {
    for (const id of this.store.lacking(chunkHash))
      this.#interests.get(id)?.running?.abort(new Unwritten("not written", { cause }));
  }

  #failed(interest: Interest, cause: unknown): void {
    const { log, random, clock } = this.#deps;
    log.warn({ cause, manifestHash: interest.manifestHash }, "version not obtained");
    this.#fetcher.dispatch({ type: "unwant", id: interest.manifestHash });
    interest.failed(cause, clock.monotonic(), random);
  }

  #withdraw(hold: HoldArtifact): void {
    const interest = this.#interests.get(hold.manifestHash);
    const state = interest?.withdrawn(hold, this.store.get(hold.manifestHash));
    if (state) this.#withdrawn.add(state);
  }

  #lost(host: string): void {
    this.#haves.forget(host);
    this.#hearing.forget(host);
    this.#fetcher.dispatch({ type: "gone", host });
    this.#exchange.drop(host);
  }
}

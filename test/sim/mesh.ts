/**
 * The mesh of one simulated agent: the real transfer core over a lossy network and a disk that
 * survives crashes. Dies with its agent's boot; only the disk goes on.
 */
import { Bitmap } from "../../agent/mesh/transfer/bitmap.ts";
import { TRANSFER_DEFAULTS } from "../../agent/mesh/transfer/options.ts";
import { Transfer } from "../../agent/mesh/transfer/transfer.ts";
import { Units } from "../../agent/mesh/transfer/units.ts";
import {
  type Answer,
  type Effect,
  ORIGIN,
  type Said,
  type TransferEvent,
} from "../../agent/mesh/transfer/wants.ts";
import type { HoldArtifact } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Holding, OrderState } from "../../shared/protocol/bodies.ts";
import type { SimDisk, Version } from "./disk.ts";
import type { Run } from "./run.ts";
import type { SimHostSpec } from "./world.ts";

const TICK_MS = 100;
const GOSSIP_MS = 1000;
const ACTIVATE_MS = 20;
const PEER_BYTES_PER_MS = 20_000;
const ORIGIN_BYTES_PER_MS = 4_000;
const CORRUPT = 0.002;
const ORIGIN_FAILS = 0.03;
const WHOLE_GOSSIP_MS = 45_000;

type Asked = Extract<Effect, { type: "request" | "origin" }>;
type Ensured = {
  foreground: number;
  priority: number;
  waiters: Set<{ resolve(path: string): void; reject(cause: unknown): void }>;
};

export class SimMesh {
  readonly #run: Run;
  readonly #spec: SimHostSpec;
  readonly #disk: SimDisk;
  readonly #isUsed: (manifestHash: string) => boolean;
  readonly #transfer: Transfer;
  readonly #ensured = new Map<string, Ensured>();
  readonly #failed = new Map<string, string>();
  readonly #dirty = new Set<string>();
  /** Flights in the background, by source and unit; for the books. */
  readonly #background = new Map<string, number>();
  #hold: HoldArtifact[] = [];
  #held = new Set<string>();
  #ticking = false;
  #gossiping = false;
  #rate = 0;
  alive = true;
  peerBytes = 0;
  originBytes = 0;
  foregroundBytes = 0;
  backgroundBytes = 0;

  constructor(
    run: Run,
    spec: SimHostSpec,
    disk: SimDisk,
    isUsed: (manifestHash: string) => boolean,
  ) {
    this.#run = run;
    this.#spec = spec;
    this.#disk = disk;
    this.#isUsed = isUsed;
    this.#transfer = new Transfer({
      ...TRANSFER_DEFAULTS,
      self: spec.id,
      random: run.random.fork(`transfer ${spec.id}`),
    });
    const others = run.site(spec.site).filter((other) => other.id !== spec.id);
    const elsewhere = run.world.hosts.some((other) => other.site !== spec.site);
    this.step({ type: "members", hosts: others.map((other) => other.id), elsewhere });
    this.#gossipWhole(true);
  }

  get spentBytes(): number {
    return this.#transfer.spentBytes;
  }

  get wantCount(): number {
    return this.#transfer.wantIds.length;
  }

  setRate(rate: number): void {
    if (rate === this.#rate) return;
    this.#rate = rate;
    this.#run.checker.rateSet(this.#spec.id, rate);
    this.step({ type: "rate", bytesPerSecond: rate });
    this.#arm();
  }

  setHold(hold: readonly HoldArtifact[]): void {
    this.#hold = [...hold];
    this.#held = new Set(hold.map((one) => one.manifestHash));
    for (const id of this.#transfer.wantIds)
      if (!this.#held.has(id) && !this.#ensured.has(id)) this.step({ type: "unwant", id });
    for (const one of hold) this.#want(one.manifestHash);
  }

  /** Resolves with the path of the activated version. */
  ensure(
    manifestHash: string,
    options: { priority: number; foreground: boolean; signal: AbortSignal },
  ): Promise<string> {
    const { foreground, priority, signal } = options;
    const version = this.#disk.versions.get(manifestHash);
    if (version?.active) {
      version.lastUsedMs = this.#run.queue.now();
      return Promise.resolve(manifestHash);
    }
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const ensured = this.#ensured.get(manifestHash) ?? {
      foreground: 0,
      priority,
      waiters: new Set(),
    };
    this.#ensured.set(manifestHash, ensured);
    ensured.priority = Math.max(ensured.priority, priority);
    if (foreground) ensured.foreground++;
    const end = () => {
      signal.removeEventListener("abort", abort);
      if (!ensured.waiters.delete(waiter)) return;
      if (foreground) ensured.foreground--;
      if (ensured.waiters.size > 0 || this.#ensured.get(manifestHash) !== ensured) return;
      this.#ensured.delete(manifestHash);
      if (!this.alive) return;
      if (this.#held.has(manifestHash)) this.#want(manifestHash);
      else this.step({ type: "unwant", id: manifestHash });
    };
    const abort = () => {
      end();
      reject(signal.reason);
    };
    const waiter = {
      resolve: (path: string) => {
        end();
        resolve(path);
      },
      reject: (cause: unknown) => {
        end();
        reject(cause);
      },
    };
    ensured.waiters.add(waiter);
    signal.addEventListener("abort", abort, { once: true });
    this.#want(manifestHash);
    return promise;
  }

  holdings(): Holding[] {
    return [...this.#disk.versions.values()].map(({ artifact, bytesHave, active }) => ({
      manifestHash: artifact.manifestHash,
      ref: artifact.ref,
      bytesHave,
      bytes: artifact.bytes,
      active,
    }));
  }

  orderStates(): OrderState[] {
    return this.#hold.map(({ orderId, manifestHash }) => {
      const version = this.#disk.versions.get(manifestHash);
      const code = this.#failed.get(manifestHash) ?? null;
      const bytesDone = version?.bytesHave ?? 0;
      const state = version?.active ? "done" : code === null ? "pending" : "failed";
      return { orderId, state, code: state === "failed" ? code : null, bytesDone };
    });
  }

  /** A version may have room now that it had not before. */
  retryFailed(): void {
    if (this.#failed.size === 0) return;
    this.#failed.clear();
    for (const one of this.#hold) this.#want(one.manifestHash);
  }

  stop(): void {
    this.alive = false;
  }

  #isProtected = (manifestHash: string) =>
    this.#held.has(manifestHash) ||
    this.#ensured.has(manifestHash) ||
    this.#isUsed(manifestHash) ||
    this.#run.world.artifacts.get(manifestHash)?.publisher === this.#spec.id;

  #want(manifestHash: string): void {
    const artifact = this.#run.world.artifacts.get(manifestHash);
    if (!artifact) return;
    const version = this.#disk.add(artifact, this.#run.queue.now(), this.#isProtected, (dropped) =>
      this.#announce(dropped),
    );
    if (!version) {
      this.#failed.set(manifestHash, "DISK_FULL");
      this.#run.note(`${this.#spec.id} has no room for ${artifact.ref.name}`);
      this.#refuse(manifestHash, new PrestageError("DISK_FULL", "no room"));
      return;
    }
    this.#failed.delete(manifestHash);
    if (version.active) {
      this.#settle(version);
      return;
    }
    const ensured = this.#ensured.get(manifestHash);
    const held = this.#hold.find((one) => one.manifestHash === manifestHash);
    const missing: number[] = [];
    for (let i = 0; i < version.have.size; i++) if (!version.have.has(i)) missing.push(i);
    this.step({
      type: "want",
      want: {
        id: manifestHash,
        chunks: artifact.chunks,
        missing,
        priority: Math.max(held?.priority ?? 0, ensured?.priority ?? 0),
        deadlineMs: held?.deadlineMs ?? Number.POSITIVE_INFINITY,
        foreground: (ensured?.foreground ?? 0) > 0,
        hasOrigin: artifact.hasOrigin,
      },
    });
    this.#arm();
  }

  #refuse(manifestHash: string, cause: PrestageError): void {
    const ensured = this.#ensured.get(manifestHash);
    if (!ensured) return;
    this.#run.queue.settleNext();
    for (const waiter of [...ensured.waiters]) waiter.reject(cause);
  }

  #settle(version: Version): void {
    version.lastUsedMs = this.#run.queue.now();
    const { manifestHash } = version.artifact;
    const ensured = this.#ensured.get(manifestHash);
    if (!ensured) return;
    this.#run.queue.settleNext();
    for (const waiter of [...ensured.waiters]) waiter.resolve(manifestHash);
  }

  // ── the transfer core ────────────────────────────────────────────────────────────────────

  step(event: TransferEvent): void {
    if (!this.alive) return;
    const filtered = this.#run.breaks.transferEvent(event);
    if (filtered === null) return;
    for (const effect of this.#transfer.step(filtered, this.#run.queue.now())) this.#carry(effect);
  }

  #carry(effect: Effect): void {
    switch (effect.type) {
      case "request":
        this.#ask(effect.host, effect);
        break;
      case "origin":
        this.#ask(ORIGIN, effect);
        break;
      case "cancel":
        this.#background.delete(key(effect.from, effect));
        this.#cancelled.add(key(effect.from, effect));
        break;
      case "complete":
        this.#complete(effect.id);
        break;
      case "announce":
      case "have":
        this.#announce(effect.id);
        break;
      case "shun":
        this.#run.note(`${this.#spec.id} shuns ${effect.host}`);
        break;
    }
  }

  readonly #cancelled = new Set<string>();

  #ask(from: string, asked: Asked): void {
    const { checker, network, queue, random } = this.#run;
    const { id } = this.#spec;
    const { bytes } = asked;
    const hashes = this.#hashes(asked);
    for (const hash of hashes)
      checker.holds(
        "no verified chunk fetched twice",
        this.#disk.holder(hash) === null,
        () => `${hash.slice(0, 8)} by ${id} from ${from}`,
      );
    this.#cancelled.delete(key(from, asked));
    if (!asked.foreground) {
      this.#background.set(key(from, asked), bytes);
      checker.stagingAsked(id, bytes);
    }
    const arrive = (result: Answer, good: boolean) => {
      if (this.alive) this.#arrived(from, asked, result, good);
    };
    if (from === ORIGIN) {
      const fails = random.next() < ORIGIN_FAILS || !network.reachable(id, ORIGIN);
      const takesMs = fails ? 200 : bytes / ORIGIN_BYTES_PER_MS + 20;
      queue.in(takesMs, () => arrive(fails ? "failed" : "ok", true));
      return;
    }
    network.datagram(id, from, () => {
      const answers = hashes.map((hash) => this.#run.serveChunk(from, hash));
      if (answers.includes(null)) return;
      const found = answers.every((answer) => answer?.found);
      const takesMs = found ? bytes / PEER_BYTES_PER_MS : 0;
      const good = answers.every((answer) => answer?.good) && random.next() >= CORRUPT;
      queue.in(takesMs, () =>
        network.datagram(from, id, () => arrive(found ? "ok" : "missing", good)),
      );
    });
  }

  #hashes({ id, positions }: Asked): string[] {
    const chunks = this.#run.world.artifacts.get(id)?.chunks;
    return positions.flatMap((position) => chunks?.[position]?.hash ?? []);
  }

  /** A request waits for it by now, however it was asked for: then it is no pre-staging. */
  #awaited(hashes: string[]): boolean {
    return [...this.#ensured].some(([id, ensured]) => {
      const positions = this.#disk.versions.get(id)?.positions;
      return ensured.foreground > 0 && hashes.some((hash) => positions?.has(hash) === true);
    });
  }

  #arrived(from: string, asked: Asked, result: Answer, good: boolean): void {
    const { checker } = this.#run;
    const { id } = this.#spec;
    const { bytes } = asked;
    const hashes = this.#hashes(asked);
    const answer = (said: Answer) => {
      const { id: version, unit, positions } = asked;
      this.step({ type: "answer", id: version, unit, positions, from, result: said });
    };
    if (this.#cancelled.delete(key(from, asked))) return;
    const background = this.#background.delete(key(from, asked));
    if (background && result === "missing") checker.stagingRefunded(id, bytes);
    if (result !== "ok") {
      answer(result);
      return;
    }
    if (background && !this.#awaited(hashes)) checker.stagingArrived(id);
    if (!good && !this.#run.breaks.has("skip-verify")) {
      this.#run.note(`${id} got unit ${asked.unit} corrupt from ${from}`);
      answer("bad");
      return;
    }
    if (from === ORIGIN) this.originBytes += bytes;
    else this.peerBytes += bytes;
    if (background) this.backgroundBytes += bytes;
    else this.foregroundBytes += bytes;
    for (const hash of hashes) this.#store(hash, from, good);
    answer("ok");
    if (this.#run.breaks.has("partial-activation"))
      for (const version of this.#disk.versions.values())
        if (!version.active && version.have.size - version.have.count === 1)
          this.#activate(version);
  }

  #store(hash: string, from: string, good: boolean): void {
    for (const version of this.#disk.versions.values()) {
      const position = version.positions.get(hash);
      if (position === undefined || !version.have.set(position)) continue;
      version.bytesHave += version.artifact.chunks[position]?.bytes ?? 0;
      version.tainted ||= !good;
      this.#run.checker.chunkStored(this.#spec.id, hash, good, this.#disk.usedBytes);
      this.#run.note(`${this.#spec.id} stored ${hash.slice(0, 8)} from ${from}`);
    }
  }

  #complete(manifestHash: string): void {
    const version = this.#disk.versions.get(manifestHash);
    if (!version) return;
    this.#run.queue.in(ACTIVATE_MS, () => {
      if (this.alive && this.#disk.versions.get(manifestHash) === version) this.#activate(version);
    });
  }

  #activate(version: Version): void {
    if (version.active) {
      this.#settle(version);
      return;
    }
    const { artifact, have, tainted } = version;
    this.#run.checker.activated(this.#spec.id, artifact.ref.name, have.complete && !tainted);
    version.active = true;
    this.#run.note(`${this.#spec.id} activated ${artifact.ref.name}`);
    this.#settle(version);
  }

  #arm(): void {
    if (this.#ticking || this.#transfer.wantIds.length === 0) return;
    this.#ticking = true;
    this.#run.queue.in(TICK_MS, () => {
      this.#ticking = false;
      if (!this.alive) return;
      this.step({ type: "tick" });
      for (const looked of this.#transfer.looks(this.#run.queue.now()))
        this.#run.askElsewhere(this.#spec.id, looked);
      this.#arm();
    });
  }

  // ── gossip ───────────────────────────────────────────────────────────────────────────────

  #announce(manifestHash: string): void {
    this.#dirty.add(manifestHash);
    if (this.#gossiping) return;
    this.#gossiping = true;
    this.#run.queue.in(GOSSIP_MS, () => {
      this.#gossiping = false;
      if (!this.alive) return;
      const said = [...this.#dirty].map((id) => this.said(id));
      this.#dirty.clear();
      this.#tell(said, false);
    });
  }

  said(manifestHash: string): Said {
    const version = this.#disk.versions.get(manifestHash);
    const units = Units.of(this.#run.world.artifacts.get(manifestHash)?.chunks ?? []);
    return {
      id: manifestHash,
      have: version ? units.whole(version.have) : new Bitmap(units.count),
      wanting: this.#transfer.missing(manifestHash) > 0 && this.#transfer.fetching(manifestHash),
      ...this.#transfer.outside(manifestHash),
    };
  }

  whole(): Said[] {
    const ids = new Set([...this.#disk.versions.keys(), ...this.#transfer.wantIds]);
    return [...ids].map((id) => this.said(id));
  }

  #gossipWhole(first: boolean): void {
    if (!this.alive) return;
    if (first)
      for (const peer of this.#run.site(this.#spec.site))
        this.#run.askWhole(this.#spec.id, peer.id);
    this.#tell(this.whole(), true);
    const jitterMs = WHOLE_GOSSIP_MS * (0.8 + 0.4 * this.#run.random.next());
    this.#run.queue.in(jitterMs, () => this.#gossipWhole(false));
  }

  #tell(said: readonly Said[], whole: boolean): void {
    const frozen = said.map((one) => ({ ...one, bytes: one.have.toBytes() }));
    for (const peer of this.#run.site(this.#spec.site))
      if (peer.id !== this.#spec.id) this.#run.sayTo(this.#spec.id, peer.id, true, whole, frozen);
  }
}

function key(from: string, { id, unit }: { id: string; unit: number }): string {
  return `${from} ${id} ${unit}`;
}

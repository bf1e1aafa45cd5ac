/**
 * Files of versions as streams, also of versions that are still on their way: each chunk is given
 * when it is here, in file order. What is small is asked of peers at once, ahead of its turn, so
 * that who needs one small file of a large version does not wait for the rest.
 */
import { hash as digest } from "node:crypto";
import type { Chunk, Manifest } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { type Clock, within } from "../../shared/runtime/clock.ts";
import type { Mesh } from "./mesh.ts";
import { findManifest } from "./obtain.ts";

export type ReaderDeps = { clock: Clock; mesh: Pick<Mesh, "ensure" | "obtaining"> };
export type HeldVersion = { manifestHash: string; manifest: Manifest; active: boolean };
/** Both inclusive. */
type Span = { from: number; to: number };

const LOOK_MS = 25;
const AHEAD_BYTES_MAX = 4 << 20;
const AHEAD_HOSTS_MAX = 6;
const AHEAD_MS = 5_000;
/** A chunk that was whole on disk and then is not, again and again: the disk is failing. */
const ATTEMPTS_MAX = 3;
const FOREGROUND = { priority: 1_000, foreground: true };

export class Reader {
  readonly #deps: ReaderDeps;

  constructor(deps: ReaderDeps) {
    this.#deps = deps;
  }

  get #obtaining() {
    return this.#deps.mesh.obtaining;
  }

  /** What is here, whole or in part. */
  held(): HeldVersion[] {
    return [...this.#obtaining.store.all()].map(({ hash, manifest, active }) => ({
      manifestHash: hash,
      manifest,
      active,
    }));
  }

  /** The file table: from here, a peer, or the coordinator. */
  async describe(manifestHash: string, { signal }: { signal: AbortSignal }): Promise<Manifest> {
    const here = this.#obtaining.store.get(manifestHash)?.manifest;
    return here ?? (await findManifest(manifestHash, true, this.#obtaining, signal)).manifest;
  }

  /**
   * Bytes of one file, every chunk verified; the version is fetched meanwhile if it is not here.
   * Throws NOT_FOUND for a file it has not, else as `Mesh.ensure`.
   */
  async *read(
    manifestHash: string,
    path: string,
    { from, to }: Span,
    { signal }: { signal: AbortSignal },
  ): AsyncGenerator<Uint8Array> {
    const { files } = await this.describe(manifestHash, { signal });
    const fileIndex = files.findIndex((f) => f.path === path);
    const file = files[fileIndex];
    if (!file) throw new PrestageError("NOT_FOUND", `the version has no ${path}`);
    const { mesh } = this.#deps;
    const ensure = (inner: AbortSignal) =>
      mesh.ensure(manifestHash, { ...FOREGROUND, signal: inner });
    const fetching = new Fetching(ensure, signal);
    try {
      let offset = 0;
      for (const [index, chunk] of file.chunks.entries()) {
        const end = offset + chunk.bytes;
        if (offset > to) return;
        if (end > from) {
          const small = file.bytes <= AHEAD_BYTES_MAX;
          const what = { manifestHash, fileIndex, index, chunk, small };
          const bytes = await this.#chunk(what, fetching, signal);
          yield bytes.subarray(Math.max(0, from - offset), Math.min(chunk.bytes, to + 1 - offset));
        }
        offset = end;
      }
    } finally {
      fetching.stop();
    }
  }

  async #chunk(
    what: {
      manifestHash: string;
      fileIndex: number;
      index: number;
      chunk: Chunk;
      small: boolean;
    },
    fetching: Fetching,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const { clock } = this.#deps;
    const { manifestHash, chunk, small } = what;
    for (let look = 0; ; look++) {
      signal.throwIfAborted();
      const { hot, store, fetcher } = this.#obtaining;
      const bytes = hot.get(chunk.hash) ?? (await store.readChunk(chunk.hash));
      if (bytes) return bytes;
      fetching.start();
      const first = store.get(manifestHash)?.firstOf(what.fileIndex);
      if (first !== undefined)
        fetcher.dispatch({ type: "read", id: manifestHash, position: first + what.index });
      const ahead = look === 0 && small ? await this.#ahead(manifestHash, chunk, signal) : null;
      if (ahead) return ahead;
      await Promise.race([fetching.arrived(), clock.sleep(LOOK_MS, { signal })]);
    }
  }

  async #ahead(
    manifestHash: string,
    { hash, bytes }: Chunk,
    signal: AbortSignal,
  ): Promise<Uint8Array | null> {
    const { transfer, connectedHosts, exchange } = this.#obtaining;
    const hosts = new Set([...transfer.hostsWith(manifestHash), ...connectedHosts()]);
    for (const host of [...hosts].slice(0, AHEAD_HOSTS_MAX)) {
      signal.throwIfAborted();
      const what = { kind: "chunk" as const, hash, bytes, foreground: true };
      const reply = await within(this.#deps.clock, AHEAD_MS, signal, (until) =>
        exchange.ask(host, what, { signal: until }),
      );
      if (reply.ok && digest("sha256", reply.bytes, "hex") === hash) return reply.bytes;
    }
    return null;
  }
}

/** The fetching of the whole version, begun when the first missing chunk is met. */
class Fetching {
  readonly #ensure: (signal: AbortSignal) => Promise<string>;
  readonly #signal: AbortSignal;
  readonly #stopped = new AbortController();
  #whole: Promise<void> | null = null;
  #attempts = 0;

  constructor(ensure: (signal: AbortSignal) => Promise<string>, signal: AbortSignal) {
    this.#ensure = ensure;
    this.#signal = signal;
  }

  start(): void {
    if (this.#whole) return;
    if (this.#attempts++ === ATTEMPTS_MAX)
      throw new PrestageError("CORRUPT", "the disk does not keep what is written to it");
    const whole = this.#ensure(AbortSignal.any([this.#signal, this.#stopped.signal]));
    this.#whole = whole.then(() => {
      this.#whole = null;
    });
    this.#whole.catch(() => null); // told by `arrived`, or nobody waits any more
  }

  /** When the version is whole: then a chunk that is still missing was lost on disk. */
  async arrived(): Promise<void> {
    await this.#whole;
  }

  stop(): void {
    this.#stopped.abort(new Error("read to its end"));
  }
}

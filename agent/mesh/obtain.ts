/**
 * One version from wished for to activated: manifest, room, chunks of older versions, chunks of
 * others, activation. Ends with the tree, or throws what stood in the way.
 */
import type { Manifest, SignedManifest } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Exchange } from "./exchange.ts";
import type { Fetcher } from "./fetcher.ts";
import { FROM_HERE, type Provenance } from "./provenance.ts";
import type { Signers } from "./signers.ts";
import type { Steps } from "./steps.ts";
import type { Store } from "./store.ts";
import type { Transfer } from "./transfer.ts";
import type { Tree } from "./trees.ts";

export type Urgency = { priority: number; deadlineMs: number; foreground: boolean };
export type ObtainDeps = {
  store: Store;
  transfer: Transfer;
  fetcher: Fetcher;
  exchange: Exchange;
  signers: Signers;
  steps: Steps;
  provenance: Provenance;
  resolveManifest: (hash: string) => Promise<SignedManifest>;
  connectedHosts: () => string[];
  /** Resolves when the transfer core says that all chunks are there. */
  completed: (manifestHash: string, signal: AbortSignal) => Promise<void>;
};

const ASKED_FOR_MANIFEST_MAX = 3;
const LOOKS_MAX = 15;
const AWAY: ReadonlySet<string> = new Set(["UNREACHABLE", "TIMEOUT"]);

export async function obtain(
  manifestHash: string,
  urgency: () => Urgency,
  deps: ObtainDeps,
  signal: AbortSignal,
): Promise<Tree> {
  const { store, fetcher, steps, provenance } = deps;
  let tree = store.get(manifestHash);
  if (!tree) {
    const { signed, manifest } = await steps.time("manifest", () =>
      findManifest(manifestHash, deps, signal),
    );
    signal.throwIfAborted();
    tree = await store.add(signed, manifest, urgency());
  }
  if (!tree.have.complete) provenance.received(manifestHash, FROM_HERE, await store.adopt(tree));
  while (!tree.active) {
    signal.throwIfAborted();
    const missing: number[] = [];
    for (let i = 0; i < tree.chunks.length; i++) if (!tree.have.has(i)) missing.push(i);
    if (missing.length > 0) {
      await store.ready(urgency());
      const completed = deps.completed(manifestHash, signal);
      const { chunks, manifest } = tree;
      const hasOrigin = manifest.originUrl !== null;
      const want = { id: manifestHash, chunks, missing, hasOrigin, ...urgency() };
      fetcher.dispatch({ type: "want", want });
      await completed;
    }
    const refusal = deps.signers.refusal(manifestHash);
    if (refusal) throw refusal;
    const whole = tree;
    if (tree.have.complete)
      await steps.time(
        "activate",
        () => store.activate(whole),
        (done) => !done,
      );
  }
  provenance.activated(manifestHash);
  await store.saveMeta(manifestHash);
  return tree;
}

/**
 * From a peer that has it, else the coordinator, else any peer: it is checked by its hash. While
 * the coordinator is away a look at it is short, so that a holder that comes back is asked soon.
 */
export async function findManifest(
  hash: string,
  deps: ObtainDeps,
  signal: AbortSignal,
): Promise<{ signed: SignedManifest; manifest: Manifest }> {
  for (let look = 1; ; look++) {
    signal.throwIfAborted();
    const holders = deps.transfer.hostsWith(hash);
    const near = await fromPeers(hash, holders, deps, signal);
    if (near) return near;
    try {
      const signed = await deps.resolveManifest(hash);
      return { signed, manifest: deps.signers.accept(signed, hash) };
    } catch (cause) {
      const others = deps.connectedHosts().filter((h) => !holders.includes(h));
      const far = await fromPeers(hash, others, deps, signal);
      if (far) return far;
      if (!(cause instanceof PrestageError))
        throw new PrestageError("UNAVAILABLE", "nobody has the manifest", { cause });
      if (!AWAY.has(cause.code) || look === LOOKS_MAX) throw cause;
    }
  }
}

async function fromPeers(
  hash: string,
  hosts: string[],
  deps: ObtainDeps,
  signal: AbortSignal,
): Promise<{ signed: SignedManifest; manifest: Manifest } | null> {
  for (const host of hosts.slice(0, ASKED_FOR_MANIFEST_MAX)) {
    const what = { kind: "manifest" as const, hash, bytes: null, foreground: true };
    const until = AbortSignal.any([signal, AbortSignal.timeout(5_000)]);
    const reply = await deps.exchange.ask(host, what, { signal: until });
    if (!reply.ok) continue;
    try {
      const signed: SignedManifest = JSON.parse(Buffer.from(reply.bytes).toString("utf8"));
      return { signed, manifest: deps.signers.accept(signed, hash) };
    } catch (cause) {
      // A wrong answer is as good as none: the next is asked.
      const untrusted = cause instanceof PrestageError && cause.code === "FORBIDDEN";
      if (!untrusted) deps.fetcher.dispatch({ type: "lied", host });
    }
  }
  return null;
}

/**
 * One version from wished for to activated: manifest, room, chunks of older versions, chunks of
 * others, activation. Ends with the tree, or throws what stood in the way.
 */
import type { Manifest, SignedManifest } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { MANIFEST_BYTES_MAX } from "../../shared/manifest.ts";
import { type Clock, within } from "../../shared/runtime/clock.ts";
import { decodePatches, runsBetween, unpackText } from "./delta.ts";
import type { Fetcher } from "./fetcher.ts";
import type { Signers } from "./signers.ts";
import type { Steps } from "./steps.ts";
import { FROM_HERE, type Provenance } from "./store/provenance.ts";
import type { Store } from "./store/store.ts";
import type { Tree } from "./store/trees.ts";
import type { Transfer } from "./transfer/transfer.ts";
import type { Question, Reply } from "./wire/client.ts";
import type { Exchange } from "./wire/exchange.ts";

export type Urgency = { priority: number; deadlineMs: number; foreground: boolean };
export type ObtainDeps = {
  clock: Clock;
  store: Store;
  transfer: Transfer;
  fetcher: Fetcher;
  exchange: Exchange;
  signers: Signers;
  steps: Steps;
  provenance: Provenance;
  resolveManifest: (hash: string) => Promise<SignedManifest>;
  connectedHosts: () => string[];
  /** Names of artifacts that the version is known to be of. */
  names: (manifestHash: string) => string[];
  /** What has just been wished for is looked for at once. */
  look: () => void;
  /** Resolves when the transfer core says that all chunks are there. */
  completed: (manifestHash: string, signal: AbortSignal) => Promise<void>;
};

const ASKED_FOR_MANIFEST_MAX = 3;
/** So many that could not give them, before the chunks are fetched. */
const ASKED_FOR_PATCHES_MAX = 3;
const LOOKS_MAX = 15;
const ANSWER_MS = 5_000;
/** What is asked for in the background comes at the pace of the budget. */
const BACKGROUND_ANSWER_MS = 20_000;
/** Who is told that others come first asks again, and in the end fetches the chunks. */
const PATCH_AGAIN_MS = 150;
const PATCH_WAIT_MS = 60_000;
/** The body and what JSON makes of its quotes. */
const MANIFEST_TEXT_BYTES_MAX = 2 * MANIFEST_BYTES_MAX;
const AWAY: ReadonlySet<string> = new Set(["UNREACHABLE", "TIMEOUT"]);

export async function obtain(
  manifestHash: string,
  urgency: () => Urgency,
  deps: ObtainDeps,
  signal: AbortSignal,
): Promise<Tree> {
  const { store, fetcher, steps, provenance } = deps;
  const begun = fetcher.begin(urgency().foreground);
  const tree = await prepare(manifestHash, urgency, deps, signal).finally(begun);
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
      if (want.foreground) deps.look();
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

/** The version as far as it is known here: its manifest, and what older versions have of it. */
async function prepare(
  manifestHash: string,
  urgency: () => Urgency,
  deps: ObtainDeps,
  signal: AbortSignal,
): Promise<Tree> {
  const { store, steps, provenance } = deps;
  const known = store.get(manifestHash);
  let tree = known;
  if (!tree) {
    const { signed, manifest } = await steps.time("manifest", () =>
      findManifest(manifestHash, urgency().foreground, deps, signal),
    );
    signal.throwIfAborted();
    tree = await store.add(signed, manifest, urgency());
  }
  if (tree.have.complete) return tree;
  const heldBefore = known ? tree.bytesHave : 0;
  await store.adopt(tree);
  provenance.received(manifestHash, FROM_HERE, tree.bytesHave - heldBefore);
  await patch(tree, urgency, deps, signal);
  return tree;
}

/**
 * From a peer that has it, else the coordinator, else any peer: it is checked by its hash. While
 * the coordinator is away a look at it is short, so that a holder that comes back is asked soon.
 */
export async function findManifest(
  hash: string,
  foreground: boolean,
  deps: ObtainDeps,
  signal: AbortSignal,
): Promise<{ signed: SignedManifest; manifest: Manifest }> {
  for (let look = 1; ; look++) {
    signal.throwIfAborted();
    const holders = holdersOf(hash, deps);
    const near = await fromPeers(hash, holders, foreground, deps, signal);
    if (near) return near;
    try {
      const signed = await deps.resolveManifest(hash);
      return { signed, manifest: deps.signers.accept(signed, hash) };
    } catch (cause) {
      const others = deps.connectedHosts().filter((h) => !holders.includes(h));
      const far = await fromPeers(hash, others, foreground, deps, signal);
      if (far) return far;
      if (!(cause instanceof PrestageError))
        throw new PrestageError("UNAVAILABLE", "nobody has the manifest", { cause });
      if (!AWAY.has(cause.code) || look === LOOKS_MAX) throw cause;
    }
  }
}

/** Who says to have it, else who published the version before it: it is likely to be the first. */
function holdersOf(hash: string, { transfer, store, names, connectedHosts }: ObtainDeps): string[] {
  const known = transfer.hostsWith(hash);
  if (known.length > 0) return known;
  const publisher = store.newest(names(hash))?.manifest.publisher;
  return connectedHosts().filter((host) => host === publisher);
}

async function fromPeers(
  hash: string,
  hosts: string[],
  foreground: boolean,
  deps: ObtainDeps,
  signal: AbortSignal,
): Promise<{ signed: SignedManifest; manifest: Manifest } | null> {
  const asked = hosts.slice(0, ASKED_FOR_MANIFEST_MAX);
  const older = asked.length > 0 ? deps.store.newest(deps.names(hash)) : null;
  const like = older && (await deps.store.signedManifest(older.hash));
  const likeText = like ? JSON.stringify(like) : "";
  for (const host of asked) {
    const reply = await askFor(host, hash, like, foreground, deps, signal);
    if (!reply.ok) continue;
    try {
      const text = await unpackText(reply.bytes, likeText, MANIFEST_TEXT_BYTES_MAX);
      const signed: SignedManifest = JSON.parse(text);
      return { signed, manifest: deps.signers.accept(signed, hash) };
    } catch (cause) {
      // A wrong answer is as good as none: the next is asked.
      const untrusted = cause instanceof PrestageError && cause.code === "FORBIDDEN";
      if (!untrusted) deps.fetcher.dispatch({ type: "lied", host });
    }
  }
  return null;
}

/** The manifest, as what it adds to one that is here; whole from a host that has not that one. */
async function askFor(
  host: string,
  hash: string,
  like: SignedManifest | null,
  urgent: boolean,
  deps: ObtainDeps,
  signal: AbortSignal,
): Promise<Reply> {
  // What a version is may be known also while nothing is staged.
  const foreground = urgent || !deps.transfer.stages;
  const what = { kind: "manifest" as const, hash, bytes: null, foreground };
  return askInTime(host, { ...what, base: like?.hash ?? null }, deps, signal);
}

function askInTime(
  host: string,
  what: Question,
  { clock, fetcher }: ObtainDeps,
  signal: AbortSignal,
): Promise<Reply> {
  const ms = what.foreground ? ANSWER_MS : BACKGROUND_ANSWER_MS;
  return within(clock, ms, signal, (until) => fetcher.ask(host, what, { signal: until }));
}

/**
 * What changed since an older version here, from hosts that have both: far less than the chunks
 * it is in. Of many who ask at once some get it from those who got it first. What does not come so
 * is fetched as chunks.
 */
async function patch(
  tree: Tree,
  urgency: () => Urgency,
  deps: ObtainDeps,
  signal: AbortSignal,
): Promise<void> {
  const { clock, store, transfer, connectedHosts } = deps;
  const older = store.newest([tree.manifest.name], tree);
  if (!older) return;
  const endMs = clock.monotonic() + PATCH_WAIT_MS;
  const useless = new Set<string>();
  for (let waits = true; waits && clock.monotonic() < endMs; ) {
    waits = false;
    const connected = connectedHosts();
    // Who just got it before who has given it to others already.
    const holders = new Set([
      ...transfer.hostsWith(tree.hash, "whole").reverse(),
      tree.manifest.publisher,
    ]);
    const asked = [...holders].filter((h) => connected.includes(h) && !useless.has(h));
    for (const host of asked) {
      if (useless.size >= ASKED_FOR_PATCHES_MAX) return;
      if (tree.have.complete || !(urgency().foreground || transfer.stages)) return;
      const came = await patchFrom(host, tree, older, urgency(), deps, signal);
      if (came === "busy") waits = true;
      else useless.add(host);
    }
    if (waits) await clock.sleep(PATCH_AGAIN_MS, { signal });
  }
}

async function patchFrom(
  host: string,
  tree: Tree,
  older: Tree,
  { foreground }: Urgency,
  deps: ObtainDeps,
  signal: AbortSignal,
): Promise<"ended" | "busy"> {
  const { store, transfer, fetcher, provenance } = deps;
  const runs = runsBetween(tree.manifest, older.manifest);
  if (runs.length === 0) return "ended";
  const what = { kind: "patches" as const, hash: tree.hash, base: older.hash };
  const reply = await askInTime(host, { ...what, bytes: null, foreground }, deps, signal);
  signal.throwIfAborted();
  if (!reply.ok) return reply.reason === "busy" ? "busy" : "ended";
  const { length } = reply.bytes;
  fetcher.counters.peerBytes += length;
  if (foreground) fetcher.counters.foregroundBytes += length;
  else transfer.spentBytes += length;
  try {
    const read = (chunk: string) => store.readChunk(chunk);
    for await (const { chunk, bytes } of decodePatches(runs, reply.bytes, read)) {
      await fetcher.patched(chunk.hash, bytes, foreground);
      provenance.received(tree.hash, host, chunk.bytes);
    }
  } catch (cause) {
    if (cause instanceof PrestageError) throw cause;
    fetcher.dispatch({ type: "lied", host });
  }
  return "ended";
}

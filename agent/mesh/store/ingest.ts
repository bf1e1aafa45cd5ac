/**
 * A version from files as they come, from a directory of this host or as a stream: each is cut,
 * hashed and, if it is kept, written in one reading.
 */
import type { Chunk, Manifest, ManifestFile, SignedManifest } from "../../../shared/domain.ts";
import { PrestageError } from "../../../shared/errors.ts";
import { checkPath, verifyManifest } from "../../../shared/manifest.ts";
import { Cutter, type Fill, fillFromPieces } from "./chunker.ts";
import { diskError } from "./disk.ts";
import type { Intake } from "./intake.ts";
import type { Store } from "./store.ts";

/** A file of a stream. */
export type IncomingFile = {
  path: string;
  executable: boolean;
  /** Asked once, after the file before was read. */
  read(options: { signal: AbortSignal }): AsyncIterable<Uint8Array>;
};

/** A file that can be read now. */
export type OpenFile = {
  path: string;
  executable: boolean;
  fill: Fill;
  /** Where it lies, if its blocks may be shared. */
  original: string | null;
  /** Called when it was read; throws when it changed meanwhile. */
  end(bytes: number): Promise<void>;
};

export type Version = {
  name: string;
  version: string;
  originUrl: string | null;
  /** False: the files are only described, and stay where they are. */
  keep: boolean;
  bytesMax: number;
  signal: AbortSignal;
  progress(bytesDone: number): void;
};
export type Sign = (manifest: Manifest) => SignedManifest | Promise<SignedManifest>;
export type IngestDeps = {
  store: Store;
  sign: Sign;
  publisher: string;
  createdMs: number;
  /** Told of what is kept, before it is. */
  note(signed: SignedManifest, manifest: Manifest): void;
  /** Keeps a version from eviction while it is filled; the result ends that. */
  pin(manifestHash: string): () => void;
};

/** A version published here is worth as much as one of the usual class. */
const KEEP_PRIORITY = 100;

/**
 * Signs what comes, and keeps and activates it if that is asked for. Throws TOO_LARGE past the
 * limit, DISK_FULL when it does not fit, CORRUPT for a path that leaves its folder, and what
 * reading throws; then nothing is left of it here.
 */
export async function ingest(
  files: AsyncIterable<OpenFile>,
  what: Version,
  deps: IngestDeps,
): Promise<SignedManifest> {
  const { store, sign, note, publisher, createdMs, pin } = deps;
  const { name, version, originUrl, keep } = what;
  const intake = keep ? store.intake({ foreground: true, priority: KEEP_PRIORITY }) : null;
  try {
    const taken = await takeFiles(files, intake, what);
    const bytes = taken.reduce((sum, f) => sum + f.bytes, 0);
    const manifest = { name, version, createdMs, files: taken, bytes, originUrl, publisher };
    const signed = await sign(manifest);
    if (!intake) return signed;
    const verified = verifyManifest(signed);
    note(signed, verified);
    const unpin = pin(signed.hash);
    try {
      const tree = await store.place(signed, verified, intake);
      if (!(await store.activate(tree)))
        throw new PrestageError("CORRUPT", "the disk does not hold what was written to it");
    } finally {
      unpin();
    }
    return signed;
  } catch (cause) {
    await intake?.drop().catch(() => null); // at the next start
    throw diskError(cause, store.dir);
  }
}

async function takeFiles(
  files: AsyncIterable<OpenFile>,
  intake: Intake | null,
  { bytesMax, signal, progress }: Version,
): Promise<ManifestFile[]> {
  const cutter = new Cutter();
  const taken: ManifestFile[] = [];
  let done = 0;
  for await (const file of files) {
    checkPath(file.path);
    const onBytes = (bytes: number) => {
      signal.throwIfAborted();
      done += bytes;
      if (done > bytesMax)
        throw new PrestageError("TOO_LARGE", `the tree is over ${bytesMax} bytes`, {
          details: { path: file.path },
          remedy: "Raise sourceLimits.artifactBytes in agent.yaml.",
        });
      progress(done);
    };
    const { path, executable, fill, original } = file;
    const mode = executable ? 0o755 : 0o644;
    const described = intake
      ? await intake.file({ path, mode, fill, original }, onBytes)
      : await describeFile({ path, mode, fill }, cutter, onBytes);
    await file.end(described.bytes);
    taken.push(described);
  }
  return taken.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function describeFile(
  { path, mode, fill }: { path: string; mode: 0o644 | 0o755; fill: Fill },
  cutter: Cutter,
  onBytes: (bytes: number) => void,
): Promise<ManifestFile> {
  const chunks: Chunk[] = [];
  let bytes = 0;
  for await (const block of cutter.blocks(fill)) {
    for (const chunk of block.chunks) chunks.push(chunk);
    bytes += block.data.length;
    onBytes(block.data.length);
  }
  return { path, mode, bytes, chunks };
}

/** Files of a stream, each when the one before was read. */
export async function* openStream(
  files: AsyncIterable<IncomingFile>,
  signal: AbortSignal,
): AsyncGenerator<OpenFile> {
  for await (const file of files) {
    const { path, executable } = file;
    const fill = fillFromPieces(file.read({ signal }));
    yield { path, executable, fill, original: null, end: async () => {} };
  }
}

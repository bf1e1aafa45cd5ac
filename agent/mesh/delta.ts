/**
 * What changed between two versions, smaller than the chunks it is in. Who has both sends each run
 * of new chunks compressed with what stood there before as the dictionary; who has the older one
 * puts it together and checks every chunk by its hash. Both find the same runs from the manifests.
 *
 * Zstandard with a raw dictionary is a binary diff as good as bsdiff's for inserts and small edits
 * and runs at some 10 ms a MiB. Refused: finer chunks (four times the manifest for a quarter of the
 * bytes), and rolling checksums as rsync has them (a round trip that costs the reader a whole pass).
 */
import { promisify } from "node:util";
import { constants, zstdCompress, zstdDecompress } from "node:zlib";
import type { Chunk, Manifest, ManifestFile } from "../../shared/domain.ts";

/** Chunks of the newer version that the older has not, and what stands in their place there. */
export type Run = {
  fresh: readonly Chunk[];
  old: readonly Chunk[];
  /** It goes on where the one before ends: the two are pieces of a long one. */
  follows: boolean;
};

const FRESH_BYTES_MAX = 4 << 20;
const OLD_BYTES_MAX = 8 << 20;
/** What stood in the place of a piece of a long run is looked for so far before and after it. */
const SLACK_BYTES = 1 << 20;
/** A patch larger than this part of what it makes is not worth it. */
const GAIN_RATIO = 0.8;
/** So much is compressed for one answer: somebody waits for it. */
const ENCODED_BYTES_MAX = 64 << 20;
const OPTIONS = {
  [constants.ZSTD_c_compressionLevel]: 1,
  [constants.ZSTD_c_windowLog]: 24,
  // Of the dictionary's positions, as many as this are found again: 8 MiB need 22 bits.
  [constants.ZSTD_c_hashLog]: 22,
};
/** Of a longer dictionary the fast strategies know the end only. */
const FAST_DICTIONARY_BYTES_MAX = (16 << 20) - 1024;
/** For those, as far back as who unpacks goes by itself. */
const FAR_OPTIONS = {
  [constants.ZSTD_c_compressionLevel]: 1,
  [constants.ZSTD_c_strategy]: constants.ZSTD_greedy,
  [constants.ZSTD_c_windowLog]: 27,
  [constants.ZSTD_c_hashLog]: 24,
};
const compressed = promisify(zstdCompress);
const decompressed = promisify(zstdDecompress);

/** In the order of the newer manifest; each new chunk once. */
export function runsBetween(newer: Manifest, older: Manifest): Run[] {
  const held = new Set(older.files.flatMap((f) => f.chunks.map((c) => c.hash)));
  const oldFiles = new Map(older.files.map((f) => [f.path, f]));
  const runs: Run[] = [];
  const seen = new Set<string>();
  for (const file of newer.files) {
    const before = oldFiles.get(file.path);
    if (!before) continue;
    for (const run of runsOfFile(file, before, held, seen)) runs.push(...piecesOf(run));
  }
  return runs.filter(({ old }) => old.length > 0);
}

/** A long run in pieces, each with what stood about as far into the old one. */
function piecesOf(run: Run): Run[] {
  const [freshBytes, oldBytes] = [sum(run.fresh), sum(run.old)];
  if (freshBytes <= FRESH_BYTES_MAX && oldBytes <= OLD_BYTES_MAX) return [run];
  const pieces: Run[] = [];
  let at = 0;
  for (let first = 0; first < run.fresh.length; ) {
    let last = first;
    let bytes = 0;
    for (; last < run.fresh.length; last++) {
      const more = run.fresh[last]?.bytes ?? 0;
      if (last > first && bytes + more > FRESH_BYTES_MAX / 2) break;
      bytes += more;
    }
    const stood = (offset: number) => (offset / freshBytes) * oldBytes;
    const old = within(run.old, stood(at) - SLACK_BYTES, stood(at + bytes) + SLACK_BYTES);
    pieces.push({ fresh: run.fresh.slice(first, last), old, follows: first > 0 });
    at += bytes;
    first = last;
  }
  return pieces;
}

/** The chunks between two offsets, no more than are looked at. */
function within(chunks: readonly Chunk[], from: number, to: number): Chunk[] {
  let [at, bytes] = [0, 0];
  return chunks.filter((chunk) => {
    const start = at;
    at += chunk.bytes;
    if (at <= from || start >= to || bytes + chunk.bytes > OLD_BYTES_MAX) return false;
    bytes += chunk.bytes;
    return true;
  });
}

function runsOfFile(
  file: ManifestFile,
  before: ManifestFile,
  held: ReadonlySet<string>,
  seen: Set<string>,
): Run[] {
  const at = new Map(before.chunks.map((c, i) => [c.hash, i]));
  const runs: Run[] = [];
  let from = 0;
  let fresh: Chunk[] = [];
  const end = (to: number) => {
    // Cuts move with what changed, so the neighbours stand for its edges.
    const old = before.chunks.slice(Math.max(0, from - 1), Math.max(from, to + 1));
    if (fresh.length > 0) runs.push({ fresh, old, follows: false });
    fresh = [];
  };
  for (const chunk of file.chunks) {
    const known = at.get(chunk.hash);
    if (known !== undefined) {
      end(Math.max(from, known));
      from = known + 1;
    } else if (!held.has(chunk.hash) && !seen.has(chunk.hash)) {
      seen.add(chunk.hash);
      fresh.push(chunk);
    }
  }
  end(before.chunks.length);
  return runs;
}

const sum = (chunks: readonly Chunk[]) => chunks.reduce((bytes, c) => bytes + c.bytes, 0);

export type ReadChunk = (hash: string) => Promise<Uint8Array | null>;

/**
 * The patches of all runs: a length of four bytes before each, 0 where none is given: where it
 * gains too little, where a chunk is not here, past `bytesMax`, and where it would take long.
 */
export async function encodePatches(
  runs: readonly Run[],
  read: ReadChunk,
  bytesMax: number,
): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let left = bytesMax;
  let work = ENCODED_BYTES_MAX;
  /** What is new altogether at its start is so in all of its pieces, most likely. */
  let hopeless = false;
  for (const run of runs) {
    hopeless &&= run.follows;
    const tried = left > 0 && work > 0 && !hopeless;
    const patch = tried ? await encodePatch(run, read) : null;
    if (tried) work -= sum(run.fresh);
    if (tried && !patch) hopeless = true;
    const given = patch && patch.length <= left ? patch : new Uint8Array(0);
    const head = Buffer.alloc(4);
    head.writeUInt32BE(given.length);
    parts.push(head, given);
    left -= given.length;
  }
  return Buffer.concat(parts);
}

async function encodePatch({ fresh, old }: Run, read: ReadChunk): Promise<Uint8Array | null> {
  const [bytes, dictionary] = [await join(fresh, read), await join(old, read)];
  if (!bytes || !dictionary) return null;
  const patch = await compressed(bytes, { dictionary, params: OPTIONS });
  return patch.length <= bytes.length * GAIN_RATIO ? patch : null;
}

/** Each chunk that a patch gave, not verified yet. Throws on what is no answer to these runs. */
export async function* decodePatches(
  runs: readonly Run[],
  answer: Uint8Array,
  read: ReadChunk,
): AsyncGenerator<{ chunk: Chunk; bytes: Uint8Array }> {
  const view = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
  let at = 0;
  for (const { fresh, old } of runs) {
    const length = view.readUInt32BE(at);
    const patch = view.subarray(at + 4, at + 4 + length);
    at += 4 + length;
    const dictionary = length > 0 ? await join(old, read) : null;
    if (!dictionary) continue;
    const bytes = await expand(patch, dictionary, sum(fresh));
    let offset = 0;
    for (const chunk of fresh) {
      yield { chunk, bytes: bytes.subarray(offset, offset + chunk.bytes) };
      offset += chunk.bytes;
    }
  }
}

async function join(chunks: readonly Chunk[], read: ReadChunk): Promise<Buffer | null> {
  const parts: Uint8Array[] = [];
  for (const { hash } of chunks) {
    const bytes = await read(hash);
    if (!bytes) return null;
    parts.push(bytes);
  }
  return Buffer.concat(parts);
}

function expand(packed: Uint8Array, dictionary: Buffer, bytesMax: number): Promise<Buffer> {
  const given = dictionary.length > 0 ? { dictionary } : {};
  return decompressed(packed, { ...given, maxOutputLength: Math.max(1, bytesMax) });
}

/** A text, small for who has one like it; `like` is empty for who has none. */
export function packText(text: string, like: string): Promise<Buffer> {
  const given = like === "" ? {} : { dictionary: Buffer.from(like) };
  const params = like.length > FAST_DICTIONARY_BYTES_MAX ? FAR_OPTIONS : OPTIONS;
  return compressed(text, { ...given, params });
}

/** Throws when it is no such text, or over `bytesMax`. */
export async function unpackText(packed: Uint8Array, like: string, bytesMax: number) {
  return (await expand(packed, Buffer.from(like), bytesMax)).toString("utf8");
}

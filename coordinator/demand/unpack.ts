/**
 * The bytes of a recording, unpacked as they come. What a file is shows in its first bytes, so that
 * stdin and oddly named files work alike; concatenated gz members and zst frames are one stream.
 */
import { once } from "node:events";
import { createReadStream, statSync } from "node:fs";
import type { Readable, Transform } from "node:stream";
import { constants, createGunzip, createZstdDecompress } from "node:zlib";
import { PrestageError } from "../../shared/errors.ts";

export type Bytes = {
  chunks: AsyncIterable<Uint8Array>;
  /** Of the file as it lies there, packed or not. */
  readonly bytesRead: number;
  /** Null for a stream. */
  readonly bytesTotal: number | null;
};

const READ_BYTES = 256 << 10;
const MAGIC_BYTES = 6;

/**
 * Opens a path or stream. The chunks end with CORRUPT (the packed byte in `details.byte`) where a
 * packed file is cut or damaged, after all that could be unpacked before; NOT_FOUND for no file.
 */
export function openBytes(source: string | Readable, signal?: AbortSignal): Bytes {
  const bytesTotal = typeof source === "string" ? sizeOf(source) : null;
  const stream =
    typeof source === "string" ? createReadStream(source, { highWaterMark: READ_BYTES }) : source;
  const state = { bytesRead: 0 };
  async function* read(): AsyncGenerator<Uint8Array> {
    const abort = () => stream.destroy(signal?.reason);
    signal?.addEventListener("abort", abort);
    try {
      signal?.throwIfAborted();
      for await (const chunk of stream) {
        const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
        state.bytesRead += bytes.length;
        yield bytes;
      }
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      throw cause;
    } finally {
      signal?.removeEventListener("abort", abort);
      stream.destroy();
    }
  }
  return {
    chunks: unpacked(read(), () => state.bytesRead),
    get bytesRead() {
      return state.bytesRead;
    },
    bytesTotal,
  };
}

function sizeOf(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) throw new PrestageError("NOT_FOUND", `no such file: ${path}`);
  if (stat.isDirectory())
    throw new PrestageError("USAGE", `${path} is a folder: name its files, e.g. ${path}/*`);
  return stat.size;
}

async function* unpacked(
  raw: AsyncGenerator<Uint8Array>,
  bytesRead: () => number,
): AsyncGenerator<Uint8Array> {
  let head: Uint8Array = new Uint8Array(0);
  while (head.length < MAGIC_BYTES) {
    const { value, done } = await raw.next();
    if (done) break;
    head = head.length === 0 ? value : Buffer.concat([head, value]);
  }
  const all = (async function* () {
    if (head.length > 0) yield head;
    yield* raw;
  })();
  const unpacker = unpackerFor(Buffer.from(head).toString("latin1", 0, MAGIC_BYTES));
  yield* unpacker ? through(all, unpacker, bytesRead) : all;
}

function unpackerFor(magic: string): Transform | null {
  if (magic.startsWith("\x1f\x8b")) return createGunzip({ chunkSize: READ_BYTES });
  // Long windows (zstd --long) need more memory than the default allows.
  if (magic.startsWith("\x28\xb5\x2f\xfd"))
    return createZstdDecompress({
      chunkSize: READ_BYTES,
      params: { [constants.ZSTD_d_windowLogMax]: 27 },
    });
  const other = magic.startsWith("BZh") ? "bzip2" : magic.startsWith("\xfd7zXZ") ? "xz" : null;
  if (other === null) return null;
  throw new PrestageError(
    "USAGE",
    `packed with ${other}: unpack it on the way, ${other} -dc FILE | prestage import -`,
  );
}

/** By hand and not as a pipeline, which forgets what was unpacked when a later byte is bad. */
async function* through(
  packed: AsyncIterable<Uint8Array>,
  unpacker: Transform & { readonly bytesWritten?: number },
  bytesRead: () => number,
): AsyncGenerator<Uint8Array> {
  let failure: unknown;
  let ended = false;
  let wake = () => {};
  unpacker.on("readable", () => wake());
  unpacker.on("end", () => {
    ended = true;
    wake();
  });
  unpacker.on("error", (cause) => {
    failure ??= cause;
    wake();
  });
  const feeding = feed(packed, unpacker, () => failure !== undefined).catch((cause: unknown) => {
    failure ??= cause;
    wake();
  });
  try {
    for (;;) {
      const chunk: Uint8Array | null = unpacker.read();
      if (chunk) yield chunk;
      else if (failure !== undefined)
        throw damaged(failure, unpacker.bytesWritten ?? 0, bytesRead());
      else if (ended) return;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (failure !== undefined || ended || unpacker.readableLength > 0) resolve();
        });
    }
  } finally {
    failure ??= new Error("closed");
    unpacker.destroy();
    await feeding;
  }
}

async function feed(
  packed: AsyncIterable<Uint8Array>,
  unpacker: Transform,
  failed: () => boolean,
): Promise<void> {
  for await (const chunk of packed) {
    if (failed()) return;
    if (unpacker.write(chunk)) continue;
    const waiting = new AbortController();
    const { signal } = waiting;
    await Promise.race([
      once(unpacker, "drain", { signal }),
      once(unpacker, "close", { signal }),
    ]).catch((cause: unknown) => {
      if (!failed()) throw cause;
    });
    waiting.abort();
  }
  if (!failed()) unpacker.end();
}

function damaged(cause: unknown, near: number, end: number): unknown {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  if (!/^(Z_|ZSTD_)/.test(code)) return cause;
  const early = code === "Z_BUF_ERROR";
  const byte = early ? end : near;
  const what = early
    ? `ends early: after byte ${byte} more of the packed data should come`
    : `is damaged near byte ${byte}: ${(cause as Error).message}`;
  return new PrestageError("CORRUPT", what, { cause, details: { byte } });
}

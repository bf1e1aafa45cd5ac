/**
 * The frames between two members: `u32 length, u8 type, body`, all numbers big-endian. Either side
 * asks and answers. The reader hands pieces of data on as they come, so that a byte is copied once,
 * into its chunk.
 */
export const FRAME = {
  request: 1,
  data: 2,
  refuse: 3,
  cancel: 4,
  credit: 5,
  have: 6,
  pace: 7,
  paced: 8,
} as const;
export const KIND = { chunk: 0, manifest: 1, holdings: 2, patches: 3 } as const;
export type Kind = keyof typeof KIND;
export const REFUSAL = { missing: 0, busy: 1, corrupt: 2 } as const;
export type Refusal = keyof typeof REFUSAL;

/** Data is cut into slices of this, so that a cancel takes effect within one. */
export const SLICE_BYTES = 128 << 10;
/** What one `have` frame tells at most. */
export const UNITS_MAX = 4096;
/** Stands for "as fast as it goes". */
export const PACE_MAX = 0xffffffff;
const HEAD_BYTES = 5;
const DATA_HEAD_BYTES = 12;
export const DATA_FRAME_HEAD_BYTES = HEAD_BYTES + DATA_HEAD_BYTES;
const HAVE_HEAD_BYTES = 32;
const CONTROL_BYTES_MAX = HAVE_HEAD_BYTES + 4 * UNITS_MAX;

/** A request names a base or not. */
const CONTROL_BYTES = new Map<number, readonly number[]>([
  [FRAME.request, [38, 70]],
  [FRAME.refuse, [5]],
  [FRAME.cancel, [4]],
  [FRAME.credit, [4]],
  [FRAME.pace, [4]],
  [FRAME.paced, [4]],
]);

export type Frame =
  | AskFrame
  | { type: "refuse"; id: number; reason: Refusal }
  | { type: "cancel"; id: number }
  | { type: "credit"; requests: number }
  /** How fast background answers to this host may be sent. */
  | { type: "pace"; bytesPerSecond: number }
  /** They go by this rate from now on. */
  | { type: "paced"; bytesPerSecond: number }
  | ({ type: "have" } & Have);

export type AskFrame = {
  type: "request";
  id: number;
  kind: Kind;
  foreground: boolean;
  hash: string;
  /** A version that who asks has: what it shares need not be sent. */
  base: string | null;
};

/** Units of a manifest that the other side may ask for since now. */
export type Have = { manifest: string; units: number[] };

export function encodeFrame(frame: Frame): Uint8Array {
  if (frame.type === "have") return encodeHave(frame);
  const body = Buffer.alloc(70);
  let length = 4;
  if (frame.type === "credit") body.writeUInt32BE(frame.requests);
  else if (frame.type === "pace" || frame.type === "paced")
    body.writeUInt32BE(frame.bytesPerSecond);
  else body.writeUInt32BE(frame.id);
  if (frame.type === "request") {
    body.writeUInt8(KIND[frame.kind], 4);
    body.writeUInt8(frame.foreground ? 1 : 0, 5);
    length = 6 + body.write(frame.hash + (frame.base ?? ""), 6, "hex");
  } else if (frame.type === "refuse") length = body.writeUInt8(REFUSAL[frame.reason], 4);
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(1 + length);
  head.writeUInt8(FRAME[frame.type], 4);
  return Buffer.concat([head, body.subarray(0, length)]);
}

function encodeHave({ manifest, units }: Have): Uint8Array {
  const length = HAVE_HEAD_BYTES + 4 * units.length;
  const frame = Buffer.allocUnsafe(HEAD_BYTES + length);
  frame.writeUInt32BE(1 + length);
  frame.writeUInt8(FRAME.have, 4);
  frame.write(manifest, 5, "hex");
  let at = HEAD_BYTES + HAVE_HEAD_BYTES;
  for (const unit of units) at = frame.writeUInt32BE(unit, at);
  return frame;
}

/** What stands before `bytes` bytes of data. */
export function dataHead(id: number, total: number, offset: number, bytes: number): Uint8Array {
  const head = Buffer.allocUnsafe(HEAD_BYTES + DATA_HEAD_BYTES);
  head.writeUInt32BE(1 + DATA_HEAD_BYTES + bytes);
  head.writeUInt8(FRAME.data, 4);
  head.writeUInt32BE(id, 5);
  head.writeUInt32BE(total, 9);
  head.writeUInt32BE(offset, 13);
  return head;
}

export type FrameSink = {
  control(frame: Frame): void;
  /** A piece of the answer to request `id`; valid during the call only. */
  data(id: number, total: number, offset: number, piece: Uint8Array): void;
};

export class FrameError extends Error {
  override name = "FrameError";
}

export class FrameReader {
  readonly #sink: FrameSink;
  #scratch = Buffer.alloc(64);
  #held = 0;
  #data: { id: number; total: number; offset: number; left: number } | null = null;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Throws FrameError on anything that is no frame; the stream is of no use then. */
  read(piece: Uint8Array): void {
    let at = 0;
    while (at < piece.length) {
      if (this.#data) {
        const bytes = Math.min(this.#data.left, piece.length - at);
        const { id, total, offset } = this.#data;
        this.#data.offset += bytes;
        this.#data.left -= bytes;
        if (this.#data.left === 0) this.#data = null;
        this.#sink.data(id, total, offset, piece.subarray(at, at + bytes));
        at += bytes;
        continue;
      }
      const need = this.#needed();
      const bytes = Math.min(need - this.#held, piece.length - at);
      this.#scratch.set(piece.subarray(at, at + bytes), this.#held);
      this.#held += bytes;
      at += bytes;
      if (this.#held === this.#needed()) this.#take();
    }
  }

  /** Bytes of head and control body that are read as a whole. */
  #needed(): number {
    if (this.#held < HEAD_BYTES) return HEAD_BYTES;
    const length = this.#scratch.readUInt32BE(0) - 1;
    if (this.#scratch[4] === FRAME.data) {
      if (length <= DATA_HEAD_BYTES || length > DATA_HEAD_BYTES + SLICE_BYTES)
        throw new FrameError("data frame of a wrong length");
      return HEAD_BYTES + DATA_HEAD_BYTES;
    }
    if (length < 1 || length > CONTROL_BYTES_MAX) throw new FrameError("frame of a wrong length");
    const need = HEAD_BYTES + length;
    if (need > this.#scratch.length) {
      const grown = Buffer.alloc(need);
      this.#scratch.copy(grown);
      this.#scratch = grown;
    }
    return need;
  }

  #take(): void {
    const body = this.#scratch.subarray(HEAD_BYTES, this.#held);
    const type = this.#scratch[4];
    const left = this.#scratch.readUInt32BE(0) - 1 - DATA_HEAD_BYTES;
    this.#held = 0;
    if (type !== FRAME.data) {
      this.#sink.control(decodeControl(type ?? 0, body));
      return;
    }
    const [id, total, offset] = [body.readUInt32BE(0), body.readUInt32BE(4), body.readUInt32BE(8)];
    if (offset + left > total) throw new FrameError("data beyond its end");
    this.#data = { id, total, offset, left };
  }
}

function decodeControl(type: number, body: Buffer): Frame {
  if (type === FRAME.have) return decodeHave(body);
  if (!CONTROL_BYTES.get(type)?.includes(body.length))
    throw new FrameError("frame of an unknown type or length");
  const id = body.readUInt32BE(0);
  if (type === FRAME.credit) return { type: "credit", requests: id };
  if (type === FRAME.pace) return { type: "pace", bytesPerSecond: id };
  if (type === FRAME.paced) return { type: "paced", bytesPerSecond: id };
  if (type === FRAME.cancel) return { type: "cancel", id };
  if (type === FRAME.refuse) return { type: "refuse", id, reason: nameOf(REFUSAL, body[4]) };
  const kind = nameOf(KIND, body[4]);
  const foreground = body[5] === 1;
  const base = body.length > 38 ? body.toString("hex", 38) : null;
  return { type: "request", id, kind, foreground, hash: body.toString("hex", 6, 38), base };
}

function decodeHave(body: Buffer): Frame {
  const count = (body.length - HAVE_HEAD_BYTES) / 4;
  if (count < 0 || !Number.isInteger(count)) throw new FrameError("a list of units cut off");
  const at = (i: number) => body.readUInt32BE(HAVE_HEAD_BYTES + 4 * i);
  const units = Array.from({ length: count }, (_, i) => at(i));
  return { type: "have", manifest: body.toString("hex", 0, 32), units };
}

function nameOf<K extends string>(table: Record<K, number>, value: number | undefined): K {
  for (const name in table) if (table[name] === value) return name;
  throw new FrameError("a number that stands for nothing");
}

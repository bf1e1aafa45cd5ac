/**
 * Frames to messages and back. Receiving is always size → tag → prescan → unpack → schema, in
 * that order. The only importer of msgpackr: plain `pack`/`unpack` without records.
 */
import { Packr } from "msgpackr";
import { PrestageError } from "../errors.ts";
import type { Direction, DownMessage, Message, MessageType, UpMessage } from "./messages.ts";
import { MESSAGES, type Row, typeOfTag } from "./messages.ts";
import { prescan } from "./prescan.ts";
import { PROTOCOL } from "./versions.ts";

export const HEADER_BYTES = 5;
export const SEQUENCE_MAX = 0xffff_ffff;

/** `undefined` fields are left out, as in JSON: msgpackr would write an extension type for them. */
const packrOptions = { useRecords: false, int64AsType: "number", skipValues: [undefined] } as const;
const packr = new Packr(packrOptions);

export type MessageIn<D extends Direction> = D extends "up" ? UpMessage : DownMessage;
/** Where in the pipeline a frame was refused: a closed set, for metrics. */
export type RefusedAt = "size" | "tag" | "prescan" | "unpack" | "schema";

export type Header = { ok: true; type: MessageType; sequence: number };
export type Refused = { ok: false; at: RefusedAt; type: MessageType | null; message: string };

/**
 * The body of a frame, checked against its row: what a peer would refuse is refused here first.
 * Throws PROTOCOL or TOO_LARGE.
 */
export function encodeBody(message: Message): Uint8Array {
  const row: Row = MESSAGES[message.type];
  const parsed = row.schema.safeParse(message.body);
  if (!parsed.success)
    throw new PrestageError("PROTOCOL", `${message.type} does not fit its schema`, {
      details: { type: message.type, issues: parsed.error.issues.slice(0, 3) },
    });
  const body = packr.pack(parsed.data);
  if (body.length + HEADER_BYTES > row.bytesMax)
    throw new PrestageError("TOO_LARGE", `${message.type} is larger than its frame may be`, {
      details: { type: message.type, bytes: body.length, bytesMax: row.bytesMax },
    });
  const refused = prescan(body, row);
  if (refused !== null)
    throw new PrestageError("TOO_LARGE", `${message.type} cannot be sent: ${refused}`, {
      details: { type: message.type },
    });
  return body;
}

/** One frame around an encoded body; the same body may go to many peers. */
export function frame(type: MessageType, sequence: number, body: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  bytes[0] = MESSAGES[type].tag;
  bytes.writeUInt32BE(sequence, 1);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

export function encode(message: Message, sequence: number): Uint8Array {
  return frame(message.type, sequence, encodeBody(message));
}

/** Type and sequence of a frame, with its size held against its row. Costs nothing. */
export function readHeader(
  direction: Direction,
  bytes: Uint8Array,
  protocol: number = PROTOCOL.max,
): Header | Refused {
  const tag = bytes[0];
  const type = tag === undefined ? undefined : typeOfTag(tag);
  if (type === undefined) return refuse("tag", null, `no message has tag ${tag}`);
  const row: Row = MESSAGES[type];
  if (row.direction !== direction) return refuse("tag", type, `${type} does not go ${direction}`);
  if (row.since > protocol) return refuse("tag", type, `${type} is newer than version ${protocol}`);
  if (bytes.length > row.bytesMax) return refuse("size", type, `${bytes.length} bytes`);
  if (bytes.length <= HEADER_BYTES) return refuse("size", type, "no body");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { ok: true, type, sequence: view.getUint32(1) };
}

/** The message of a frame whose header was read as `type`. */
export function decodeBody(
  type: MessageType,
  bytes: Uint8Array,
): { ok: true; message: Message } | Refused {
  const row: Row = MESSAGES[type];
  const body = bytes.subarray(HEADER_BYTES);
  const refused = prescan(body, row);
  if (refused !== null) return refuse("prescan", type, refused);
  let value: unknown;
  try {
    value = packr.unpack(body);
  } catch (cause) {
    return refuse("unpack", type, cause instanceof Error ? cause.message : "unreadable");
  }
  const parsed = row.schema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return refuse("schema", type, `${issue?.path.join(".")}: ${issue?.message}`);
  }
  return { ok: true, message: { type, body: parsed.data } as Message };
}

/** A whole frame in one go; throws PROTOCOL. */
export function decode<D extends Direction>(
  direction: D,
  bytes: Uint8Array,
): { message: MessageIn<D>; sequence: number } {
  const header = readHeader(direction, bytes);
  const decoded = header.ok ? decodeBody(header.type, bytes) : header;
  if (!decoded.ok || !header.ok) {
    const { at, type, message } = decoded.ok ? refuse("tag", null, "unread header") : decoded;
    throw new PrestageError("PROTOCOL", `frame refused: ${message}`, { details: { at, type } });
  }
  return { message: decoded.message as MessageIn<D>, sequence: header.sequence };
}

function refuse(at: RefusedAt, type: MessageType | null, message: string): Refused {
  return { ok: false, at, type, message: message.slice(0, 200) };
}

/**
 * One end of one connection: numbers the frames that go out, and lets in only frames that are
 * next in sequence and within their type's rate. The order of checks is size, tag, sequence,
 * rate, prescan, unpack, schema: what a flood costs is a header.
 */
import type { ErrorCode } from "../errors.ts";
import { assert } from "../runtime/assert.ts";
import { type Bucket, fullBucket, take } from "./bucket.ts";
import {
  decodeBody,
  encodeBody,
  frame,
  type MessageIn,
  type RefusedAt,
  readHeader,
  SEQUENCE_MAX,
} from "./codec.ts";
import { type Direction, MESSAGES, type Message, type MessageType } from "./messages.ts";
import { PROTOCOL } from "./versions.ts";

/** Dropped frames forgiven before it counts as abuse: 200 at once, 2 more every second. */
const FORGIVEN = { ratePerSecond: 2, burst: 200 };

export type Received<D extends Direction> =
  | { kind: "message"; message: MessageIn<D> }
  /** Over its rate: not looked at. */
  | { kind: "dropped"; type: MessageType }
  /** The connection has to be closed with `code`. */
  | {
      kind: "refused";
      code: ErrorCode;
      at: RefusedAt | "sequence" | "abuse";
      type: MessageType | null;
      message: string;
    };

export class Wire<D extends Direction> {
  readonly #receives: D;
  #protocol = PROTOCOL.max;
  #nextOut = 0;
  #nextIn = 0;
  readonly #buckets = new Map<MessageType, Bucket>();
  #forgiven: Bucket | undefined;

  /** `receives`: the direction of the frames that come in. */
  constructor(receives: D) {
    this.#receives = receives;
  }

  /** The negotiated version: newer messages are refused from here on. */
  speak(protocol: number): void {
    this.#protocol = protocol;
  }

  /** Throws what `encodeBody` throws; no sequence number is used up then. */
  encode(message: Message): Uint8Array {
    return this.wrap(message.type, encodeBody(message));
  }

  /** A frame around a body that was encoded before. */
  wrap(type: MessageType, body: Uint8Array): Uint8Array {
    assert(MESSAGES[type].direction !== this.#receives, `${type} goes the other way`);
    assert(this.#nextOut <= SEQUENCE_MAX, "sequence numbers left");
    return frame(type, this.#nextOut++, body);
  }

  receive(bytes: Uint8Array, nowMs: number): Received<D> {
    const header = readHeader(this.#receives, bytes, this.#protocol);
    if (!header.ok) {
      const code = header.at === "size" ? "TOO_LARGE" : "PROTOCOL";
      return { kind: "refused", code, at: header.at, type: header.type, message: header.message };
    }
    const { type, sequence } = header;
    if (sequence !== this.#nextIn) {
      const message = `sequence ${sequence} where ${this.#nextIn} was next`;
      return { kind: "refused", code: "PROTOCOL", at: "sequence", type, message };
    }
    this.#nextIn++;
    if (!this.#withinRate(type, nowMs)) {
      if (this.#forgive(nowMs)) return { kind: "dropped", type };
      const message = `far more ${type} than ${MESSAGES[type].ratePerSecond} per second`;
      return { kind: "refused", code: "RATE_LIMITED", at: "abuse", type, message };
    }
    const decoded = decodeBody(type, bytes);
    if (decoded.ok) return { kind: "message", message: decoded.message as MessageIn<D> };
    return {
      kind: "refused",
      code: "PROTOCOL",
      at: decoded.at,
      type: decoded.type,
      message: decoded.message,
    };
  }

  #withinRate(type: MessageType, nowMs: number): boolean {
    const row = MESSAGES[type];
    const { taken, bucket } = take(this.#buckets.get(type) ?? fullBucket(row, nowMs), row, nowMs);
    this.#buckets.set(type, bucket);
    return taken;
  }

  #forgive(nowMs: number): boolean {
    const { taken, bucket } = take(this.#forgiven ?? fullBucket(FORGIVEN, nowMs), FORGIVEN, nowMs);
    this.#forgiven = bucket;
    return taken;
  }
}

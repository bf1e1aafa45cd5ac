/**
 * The one table of messages between an agent and the coordinator. Type, encoder, decoder, limits,
 * metrics label and documentation of a message all come from its row.
 *
 * A frame is a tag (1 byte), a sequence number (4 bytes, big-endian, from 0 and rising by 1 in
 * each direction of a connection) and a body in plain MessagePack; WebSocket gives its length.
 */
import type { z } from "zod";
import {
  Ack,
  Bye,
  DesiredState,
  Hello,
  MemberList,
  Ping,
  Pong,
  Records,
  Reply,
  Report,
  Request,
  Routes,
  Welcome,
} from "./bodies.ts";

export type Direction = "up" | "down";

export type Row = {
  /** First byte of the frame; never reused. */
  readonly tag: number;
  /** `up` is agent to coordinator. */
  readonly direction: Direction;
  readonly schema: z.ZodType;
  /** Of the whole frame. */
  readonly bytesMax: number;
  /** Values, keys included, in the body: bounds the work of reading it. */
  readonly elementsMax: number;
  /** Sustained and at once, per session; frames beyond are dropped and counted. */
  readonly ratePerSecond: number;
  readonly burst: number;
  /** First protocol version that has it. */
  readonly since: number;
  readonly doc: string;
};

const KIB = 1 << 10;
const MIB = 1 << 20;

export const MESSAGES = {
  hello: {
    tag: 1,
    direction: "up",
    schema: Hello,
    bytesMax: 16 * KIB,
    elementsMax: 100,
    ratePerSecond: 0.1,
    burst: 1,
    since: 1,
    doc: "First message of a session: who the agent is and what it already has.",
  },
  report: {
    tag: 2,
    direction: "up",
    schema: Report,
    bytesMax: 4 * MIB,
    elementsMax: 130_000,
    ratePerSecond: 5,
    burst: 10,
    since: 1,
    doc: "The agent's whole state; the latest replaces the ones before.",
  },
  records: {
    tag: 3,
    direction: "up",
    schema: Records,
    bytesMax: 4 * MIB,
    elementsMax: 40_000,
    ratePerSecond: 10,
    burst: 20,
    since: 1,
    doc: "Demand and outcomes; sent again until acknowledged, taken over exactly once.",
  },
  request: {
    tag: 4,
    direction: "up",
    schema: Request,
    bytesMax: 24 * MIB,
    elementsMax: 200,
    ratePerSecond: 50,
    burst: 100,
    since: 1,
    doc: "A question or a publication that wants a reply.",
  },
  pong: {
    tag: 5,
    direction: "up",
    schema: Pong,
    bytesMax: 256,
    elementsMax: 32,
    ratePerSecond: 2,
    burst: 10,
    since: 1,
    doc: "Answer to a ping.",
  },
  welcome: {
    tag: 65,
    direction: "down",
    schema: Welcome,
    bytesMax: 1 * KIB,
    elementsMax: 32,
    ratePerSecond: 0.1,
    burst: 1,
    since: 1,
    doc: "Answer to hello: the protocol version, and which records are stored.",
  },
  desired: {
    tag: 66,
    direction: "down",
    schema: DesiredState,
    bytesMax: 8 * MIB,
    elementsMax: 400_000,
    ratePerSecond: 10,
    burst: 20,
    since: 1,
    doc: "All that is wanted of the agent; sent again until a report shows its version.",
  },
  members: {
    tag: 67,
    direction: "down",
    schema: MemberList,
    bytesMax: 8 * MIB,
    elementsMax: 300_000,
    ratePerSecond: 10,
    burst: 20,
    since: 1,
    doc: "All enrolled hosts: the allow-list of the mesh.",
  },
  routes: {
    tag: 68,
    direction: "down",
    schema: Routes,
    bytesMax: 8 * MIB,
    elementsMax: 400_000,
    ratePerSecond: 10,
    burst: 20,
    since: 1,
    doc: "The numbered route table, whole.",
  },
  ack: {
    tag: 69,
    direction: "down",
    schema: Ack,
    bytesMax: 256,
    elementsMax: 32,
    ratePerSecond: 20,
    burst: 40,
    since: 1,
    doc: "Records up to this number are stored.",
  },
  reply: {
    tag: 70,
    direction: "down",
    schema: Reply,
    bytesMax: 24 * MIB,
    elementsMax: 1_000,
    ratePerSecond: 100,
    burst: 300,
    since: 1,
    doc: "Answer to a request.",
  },
  ping: {
    tag: 71,
    direction: "down",
    schema: Ping,
    bytesMax: 256,
    elementsMax: 32,
    ratePerSecond: 2,
    burst: 10,
    since: 1,
    doc: "Sign of life; wants a pong.",
  },
  bye: {
    tag: 72,
    direction: "down",
    schema: Bye,
    bytesMax: 4 * KIB,
    elementsMax: 16,
    ratePerSecond: 1,
    burst: 2,
    since: 1,
    doc: "The coordinator ends the session, and why.",
  },
} as const satisfies Record<string, Row>;

export type MessageType = keyof typeof MESSAGES;
export type Body<T extends MessageType> = z.output<(typeof MESSAGES)[T]["schema"]>;
type TypesOf<D extends Direction> = {
  [T in MessageType]: (typeof MESSAGES)[T]["direction"] extends D ? T : never;
}[MessageType];

export type MessageOf<T extends MessageType> = { [K in T]: { type: K; body: Body<K> } }[T];
export type UpMessage = MessageOf<TypesOf<"up">>;
export type DownMessage = MessageOf<TypesOf<"down">>;
export type Message = UpMessage | DownMessage;

export const MESSAGE_TYPES = Object.keys(MESSAGES) as MessageType[];

const BY_TAG = new Map<number, MessageType>(
  MESSAGE_TYPES.map((type) => [MESSAGES[type].tag, type]),
);

/** The message type of a frame's first byte; undefined when there is none. */
export function typeOfTag(tag: number): MessageType | undefined {
  return BY_TAG.get(tag);
}

/** The largest frame a receiver of `direction` may be sent. */
export function frameBytesMax(direction: Direction): number {
  const rows: Row[] = Object.values(MESSAGES);
  return Math.max(...rows.filter((r) => r.direction === direction).map((r) => r.bytesMax));
}

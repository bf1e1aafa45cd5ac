/**
 * Questions to the coordinator that wait for their reply. They outlive a connection: all kinds
 * may be asked twice, so what was unanswered is asked again on the next one, until its deadline.
 */
import { ERRORS, type ErrorCode } from "../../shared/errors.ts";
import type { Reply, ReplyBody, Request, RequestBody } from "../../shared/protocol/bodies.ts";
import { type Bucket, fullBucket, nextTokenMs, take } from "../../shared/protocol/bucket.ts";
import { MESSAGES } from "../../shared/protocol/messages.ts";

/** Under the table's own limit, so that jitter on the way does not make a burst of it. */
const PACE = {
  ratePerSecond: MESSAGES.request.ratePerSecond * 0.8,
  burst: MESSAGES.request.burst / 2,
};
const IN_FLIGHT_MAX = 16;

type Waiting = { body: RequestBody; deadlineMs: number; sent: boolean };

export type Requests = {
  readonly waiting: ReadonlyMap<number, Waiting>;
  readonly pace: Bucket;
};

export type Settled = {
  id: number;
  result: { ok: true; body: ReplyBody } | { ok: false; code: ErrorCode; message: string };
};

export function noRequests(nowMs: number): Requests {
  return { waiting: new Map(), pace: fullBucket(PACE, nowMs) };
}

/** Refused when `max` wait already: the caller gets RATE_LIMITED, nothing is queued. */
export function ask(
  requests: Requests,
  id: number,
  question: { body: RequestBody; deadlineMs: number },
  max: number,
): { requests: Requests; settled: Settled[] } {
  if (requests.waiting.size >= max) {
    const result = { ok: false, code: "RATE_LIMITED", message: "too many requests wait" } as const;
    return { requests, settled: [{ id, result }] };
  }
  const waiting = new Map(requests.waiting).set(id, { ...question, sent: false });
  return { requests: { ...requests, waiting }, settled: [] };
}

export function forget(requests: Requests, id: number): Requests {
  const waiting = new Map(requests.waiting);
  waiting.delete(id);
  return { ...requests, waiting };
}

/** The requests to send now, oldest first. */
export function due(requests: Requests, nowMs: number): { requests: Requests; send: Request[] } {
  const unsent = [...requests.waiting].filter(([, w]) => !w.sent);
  if (unsent.length === 0) return { requests, send: [] };
  let { pace } = requests;
  let inFlight = requests.waiting.size - unsent.length;
  const waiting = new Map(requests.waiting);
  const send: Request[] = [];
  for (const [id, entry] of unsent) {
    if (inFlight >= IN_FLIGHT_MAX) break;
    const { taken, bucket } = take(pace, PACE, nowMs);
    pace = bucket;
    if (!taken) break;
    inFlight++;
    waiting.set(id, { ...entry, sent: true });
    send.push({ id, body: entry.body });
  }
  return { requests: { waiting, pace }, send };
}

export function answered(
  requests: Requests,
  reply: Reply,
): { requests: Requests; settled: Settled[] } {
  const asked = requests.waiting.get(reply.id);
  if (!asked) return { requests, settled: [] };
  const settled = { id: reply.id, result: resultOf(asked.body, reply) };
  return { requests: forget(requests, reply.id), settled: [settled] };
}

function resultOf(asked: RequestBody, reply: Reply): Settled["result"] {
  if (reply.ok && reply.body?.kind === asked.kind) return { ok: true, body: reply.body };
  if (reply.ok) return { ok: false, code: "PROTOCOL", message: "the reply answers something else" };
  const known = reply.code !== null && reply.code in ERRORS;
  const code = known ? (reply.code as ErrorCode) : "UNAVAILABLE";
  return { ok: false, code, message: reply.message };
}

/** Ends those past their deadline: TIMEOUT when asked, UNREACHABLE when never sent. */
export function expired(
  requests: Requests,
  nowMs: number,
): { requests: Requests; settled: Settled[] } {
  const over = [...requests.waiting].filter(([, w]) => w.deadlineMs <= nowMs);
  if (over.length === 0) return { requests, settled: [] };
  const waiting = new Map(requests.waiting);
  const settled = over.map(([id, { sent }]): Settled => {
    waiting.delete(id);
    const result = sent
      ? ({ ok: false, code: "TIMEOUT", message: "the coordinator did not answer in time" } as const)
      : ({ ok: false, code: "UNREACHABLE", message: "no session with the coordinator" } as const);
    return { id, result };
  });
  return { requests: { ...requests, waiting }, settled };
}

/** The connection is gone: all are to be asked again. */
export function unsent(requests: Requests): Requests {
  const waiting = new Map([...requests.waiting].map(([id, w]) => [id, { ...w, sent: false }]));
  return { ...requests, waiting };
}

/** When something is due next, if nothing else happens; `open` when requests can be sent. */
export function nextMs(requests: Requests, open: boolean): number {
  let nextMs = Number.POSITIVE_INFINITY;
  let inFlight = 0;
  let waits = false;
  for (const { deadlineMs, sent } of requests.waiting.values()) {
    nextMs = Math.min(nextMs, deadlineMs);
    if (sent) inFlight++;
    else waits = true;
  }
  if (open && waits && inFlight < IN_FLIGHT_MAX)
    nextMs = Math.min(nextMs, nextTokenMs(requests.pace, PACE));
  return nextMs;
}

/**
 * Plays a schedule with real requests, open loop: each is sent at its time, however slow the ones
 * before it are.
 */
import { Agent, request } from "undici";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Served } from "./measure.ts";
import type { PlannedRequest } from "./schedule.ts";

const ANSWER_WITHIN_MS = 60_000;

export type Play = {
  clock: Clock;
  /** Real milliseconds (wall clock) at which a demand time comes. */
  realMs: (demandMs: number) => number;
  routers: readonly string[];
  onServed?: (served: Served) => void;
};

/** Resolves when every request is answered or failed, in the order of the schedule. */
export async function play(
  requests: readonly PlannedRequest[],
  { clock, realMs, routers, onServed }: Play,
  { signal }: { signal: AbortSignal },
): Promise<Served[]> {
  const dispatcher = new Agent({
    headersTimeout: ANSWER_WITHIN_MS,
    bodyTimeout: ANSWER_WITHIN_MS,
    keepAliveTimeout: 10_000,
  });
  const answers: Promise<Served>[] = [];
  try {
    for (const [index, planned] of requests.entries()) {
      const waitMs = realMs(planned.atMs) - clock.now();
      if (waitMs > 1) await clock.sleep(waitMs, { signal });
      const url = `${routers[planned.entry]}/${planned.workload}/${planned.category}/${index}`;
      const answer = send(url, planned.measured, { clock, dispatcher, signal });
      answers.push(
        answer.then((served) => {
          onServed?.(served);
          return served;
        }),
      );
    }
    const served = await Promise.all(answers);
    signal.throwIfAborted();
    return served;
  } finally {
    await Promise.allSettled(answers);
    await dispatcher.destroy();
  }
}

async function send(
  url: string,
  measured: boolean,
  { clock, dispatcher, signal }: { clock: Clock; dispatcher: Agent; signal: AbortSignal },
): Promise<Served> {
  const startMs = clock.monotonic();
  try {
    const answer = await request(url, { dispatcher, signal });
    const firstByteMs = clock.monotonic() - startMs;
    await answer.body.dump();
    const outcome = answer.statusCode < 500 ? outcomeOf(answer.headers["prestage-outcome"]) : null;
    return { measured, outcome: outcome ?? "failed", firstByteMs, status: answer.statusCode };
  } catch {
    // Whatever kept the answer away (refused, reset, too late): the request failed.
    const firstByteMs = clock.monotonic() - startMs;
    return { measured, outcome: "failed", firstByteMs, status: 0 };
  }
}

function outcomeOf(header: string | string[] | undefined): "hit" | "late" | "miss" | null {
  return header === "hit" || header === "late" || header === "miss" ? header : null;
}

/**
 * Reads calendars, feeds and holidays in a thread of its own with a time and a memory limit: what
 * strangers wrote can then neither stall nor bloat the coordinator, and the parsers' memory is given
 * back when they are done.
 */
import { Worker } from "node:worker_threads";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { EVENTS_MAX, type SignalEvent, shortText } from "./event.ts";
import type { HolidaySettings } from "./holidays.ts";

type Span = { fromMs: number; toMs: number };
export type ReadRequest = Span &
  (
    | { kind: "calendar"; body: Uint8Array; timeZone: string | undefined }
    | { kind: "feed"; body: Uint8Array; durationMs: number }
    | { kind: "holidays"; of: HolidaySettings }
  );
export type ReadResult = { events: SignalEvent[]; problems: string[] };

const HEAP_MB = 384;
type Answer = ({ ok: true } & ReadResult) | { ok: false; message: string };

/**
 * Events in order of their start, one per (id, start), `EVENTS_MAX` at most. Throws CORRUPT when it
 * cannot be read, TIMEOUT when that takes too long.
 */
export async function readEvents(
  request: ReadRequest,
  { clock, timeoutMs, signal }: { clock: Clock; timeoutMs: number; signal: AbortSignal },
): Promise<ReadResult> {
  const answer = await ask(request, clock, timeoutMs, signal);
  if (!answer.ok) throw new PrestageError("CORRUPT", `not readable: ${shortText(answer.message)}`);
  const unique = new Map(answer.events.map((event) => [`${event.startMs} ${event.id}`, event]));
  const sorted = [...unique.values()].toSorted((a, b) => a.startMs - b.startMs);
  if (sorted.length <= EVENTS_MAX) return { events: sorted, problems: answer.problems };
  const problems = [...answer.problems, `over ${EVENTS_MAX} events: the latest are left out`];
  return { events: sorted.slice(0, EVENTS_MAX), problems };
}

async function ask(
  request: ReadRequest,
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Answer> {
  const worker = new Worker(new URL("./reader-worker.ts", import.meta.url), {
    workerData: request,
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const cancel = clock.after(timeoutMs, () =>
    reject(new PrestageError("TIMEOUT", `took over ${timeoutMs} ms to read`)),
  );
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  worker.once("message", resolve);
  worker.once("error", (cause: unknown) =>
    reject(new PrestageError("CORRUPT", "could not be read", { cause })),
  );
  worker.once("exit", (code) =>
    reject(new PrestageError("CORRUPT", `could not be read (ended with ${code})`)),
  );
  try {
    if (signal.aborted) throw signal.reason;
    return await promise;
  } finally {
    cancel();
    signal.removeEventListener("abort", abort);
    await worker.terminate();
  }
}

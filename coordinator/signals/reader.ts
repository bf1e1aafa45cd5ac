/**
 * Reads calendars, feeds and holidays in a thread of its own with a time and a memory limit: what
 * strangers wrote can then neither stall nor bloat the coordinator, and the parsers' memory is given
 * back when they are done.
 */
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { askWorker } from "../../shared/runtime/worker.ts";
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
  const answer = await askWorker<Answer>(
    {
      module: new URL("./reader-worker.ts", import.meta.url),
      request,
      heapMb: HEAP_MB,
      timeoutMs,
      what: "reading",
    },
    { clock, signal },
  );
  if (!answer.ok) throw new PrestageError("CORRUPT", `not readable: ${shortText(answer.message)}`);
  const unique = new Map(answer.events.map((event) => [`${event.startMs} ${event.id}`, event]));
  const sorted = [...unique.values()].toSorted((a, b) => a.startMs - b.startMs);
  if (sorted.length <= EVENTS_MAX) return { events: sorted, problems: answer.problems };
  const problems = [...answer.problems, `over ${EVENTS_MAX} events: the latest are left out`];
  return { events: sorted.slice(0, EVENTS_MAX), problems };
}

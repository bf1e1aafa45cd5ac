/**
 * Refreshes the network in a thread of its own, at the lowest priority: onnxruntime computes on
 * the thread that calls it, and training would stall the coordinator's sessions for seconds.
 */
import type { Clock } from "../../../shared/runtime/clock.ts";
import { askWorker } from "../../../shared/runtime/worker.ts";
import type { Refresh, Refreshed } from "./learning.ts";

/** A refresh that takes longer is given up; one of 1,000 series takes a tenth of that. */
export const REFRESH_MS_MAX = 300_000;
const HEAP_MB = 512;

/** The request's counts are handed over and no longer usable. Throws TIMEOUT, CORRUPT, the abort. */
export function refreshInWorker(
  request: Refresh,
  context: { clock: Clock; signal: AbortSignal },
): Promise<Refreshed> {
  return askWorker<Refreshed>(
    {
      module: new URL("./refresh-worker.ts", import.meta.url),
      request,
      transfer: [...new Set(request.series.map(({ counts }) => counts.buffer as ArrayBuffer))],
      heapMb: HEAP_MB,
      timeoutMs: REFRESH_MS_MAX,
      what: "training",
    },
    context,
  );
}

/**
 * Refreshes the network in a thread of its own, at the lowest priority: onnxruntime computes on
 * the thread that calls it, and training would stall the coordinator's sessions for seconds.
 */
import { Worker } from "node:worker_threads";
import { PrestageError } from "../../../shared/errors.ts";
import type { Clock } from "../../../shared/runtime/clock.ts";
import type { Refresh, Refreshed } from "./learning.ts";

/** A refresh that takes longer is given up; one of 1,000 series takes a tenth of that. */
export const REFRESH_MS_MAX = 300_000;
const HEAP_MB = 512;

/** The request's counts are handed over and no longer usable. Throws TIMEOUT, CORRUPT, the abort. */
export async function refreshInWorker(
  request: Refresh,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<Refreshed> {
  const worker = new Worker(new URL("./refresh-worker.ts", import.meta.url), {
    workerData: request,
    transferList: [...new Set(request.series.map(({ counts }) => counts.buffer as ArrayBuffer))],
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  const { promise, resolve, reject } = Promise.withResolvers<Refreshed>();
  const cancel = clock.after(REFRESH_MS_MAX, () =>
    reject(new PrestageError("TIMEOUT", `training took over ${REFRESH_MS_MAX} ms`)),
  );
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  worker.once("message", resolve);
  worker.once("error", (cause: unknown) =>
    reject(new PrestageError("CORRUPT", "training failed", { cause })),
  );
  worker.once("exit", (code) =>
    reject(new PrestageError("CORRUPT", `the training thread ended with ${code}`)),
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

/**
 * One question to a thread of its own, with a deadline and a memory limit: what takes long or comes
 * from strangers can then neither stall nor bloat the process, and all it used is given back.
 */
import { type Transferable, Worker } from "node:worker_threads";
import { PrestageError } from "../errors.ts";
import type { Clock } from "./clock.ts";

export type Question = {
  /** The thread's module: it has the request as `workerData` and posts one message, the answer. */
  module: URL;
  request: unknown;
  /** Handed over with the request: no longer usable here. */
  transfer?: readonly Transferable[];
  heapMb: number;
  timeoutMs: number;
  /** What the thread does, for errors: "training". */
  what: string;
};

/** The thread's first message. Throws TIMEOUT, CORRUPT when the thread failed, the abort. */
export async function askWorker<Answer>(
  { module, request, transfer = [], heapMb, timeoutMs, what }: Question,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<Answer> {
  signal.throwIfAborted();
  const worker = new Worker(module, {
    workerData: request,
    transferList: [...transfer],
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: heapMb },
  });
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const cancel = clock.after(timeoutMs, () =>
    reject(new PrestageError("TIMEOUT", `${what} took over ${timeoutMs} ms`)),
  );
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  worker.once("message", resolve);
  worker.once("error", (cause: unknown) =>
    reject(new PrestageError("CORRUPT", `${what} failed`, { cause })),
  );
  worker.once("exit", (code) =>
    reject(new PrestageError("CORRUPT", `${what} ended with ${code} and no answer`)),
  );
  try {
    return await promise;
  } finally {
    cancel();
    signal.removeEventListener("abort", abort);
    await worker.terminate();
  }
}

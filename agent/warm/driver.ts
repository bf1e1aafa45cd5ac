/**
 * What runs environments. The pool knows this much of it; `process.ts` starts real processes, the
 * simulator pretends to.
 */
import type { Workload } from "../../shared/workload.ts";

export type LaunchSpec = {
  /** Of the environment; unique for ever. */
  id: string;
  workload: Workload;
  category: string;
  /** Path of the activated tree by the artifact's `as`. */
  artifacts: Record<string, string>;
};

export type Exit = { code: number | null; signal: string | null };

export type Running = {
  /** Where it answers HTTP on the loopback. */
  readonly port: number;
  /** Settles, never throws, when the process and what it started are gone. */
  readonly exited: Promise<Exit>;
  /** The last of what it wrote, bounded. */
  outputTail(): string;
  /** Asks it to end, forces it after `graceMs`; resolves when all of it is gone. */
  stop(graceMs: number): Promise<void>;
};

export type Driver = {
  /** Ends what an earlier agent left behind; gives how many processes that were. */
  recover(): Promise<number>;
  /**
   * Starts one and resolves once it passes its readiness probe. Throws PrestageError
   * (ENVIRONMENT_FAILED, with the output's tail) or the signal's reason; then nothing of it runs.
   */
  launch(spec: LaunchSpec, options: { signal: AbortSignal }): Promise<Running>;
};

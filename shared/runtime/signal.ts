/** Signals to other processes; everything that ends a process goes through here. */
import { kill } from "node:process";

/**
 * Sends a signal to a process, or to a whole process group when `pid` is negative. False when there
 * is no such process any more or it is not ours to signal.
 */
export function sendSignal(pid: number, signal: "SIGTERM" | "SIGKILL" | 0): boolean {
  try {
    return kill(pid, signal);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : null;
    if (code === "ESRCH" || code === "EPERM") return false;
    throw cause;
  }
}

/**
 * Ends what still runs out of a demo's folder when its agents are gone: an environment whose agent
 * was killed while it started it. Only a process with the folder's unique path among its arguments
 * is ours. Needs /proc; elsewhere environments end by themselves when their agent is gone.
 */
import { readdir, readFile } from "node:fs/promises";
import type { Clock } from "../../shared/runtime/clock.ts";

const POLL_MS = 50;
const KILL_AFTER_MS = 1_500;

export async function endLeftovers(folder: string, clock: Clock, kill: (pid: number) => void) {
  const killAtMs = clock.monotonic() + KILL_AFTER_MS;
  for (let round = 0; round < 100; round++) {
    const pids = await runningFrom(folder);
    if (pids.length === 0) return;
    if (clock.monotonic() >= killAtMs) pids.forEach(kill);
    await clock.sleep(POLL_MS);
  }
}

/** Process ids that have `folder` among their arguments. */
export async function runningFrom(folder: string): Promise<number[]> {
  const entries = await readdir("/proc").catch(() => []);
  const pids = entries.filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      // A process may end while it is looked at.
      const args = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      return args.includes(`${folder}/`) ? Number(pid) : null;
    }),
  );
  return found.filter((pid) => pid !== null);
}

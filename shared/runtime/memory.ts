/**
 * Keeps a daemon's memory near what it uses. V8 lets its young generation grow to 32 MB while
 * modules are loaded and has little reason to collect what loading left once the process is idle.
 */
import { flushCompileCache } from "node:module";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Clock, every } from "./clock.ts";

const PERIOD_MS = 10_000;
/** Quiet is less of one core than this. */
const QUIET_CORE_SHARE = 0.05;
const AGAIN_AFTER_MS = 60_000;
/** A collection costs some 50 ms: not worth it for less. */
const GROWN_BYTES = 6 << 20;

/**
 * Lets memory outside the heap (chunks) count like the heap does. Else V8 collects all of it
 * whenever 64 MB more were taken: a tenth of all CPU while chunks move. And lets both double before
 * it walks the heap: as little is allocated in it, V8 would else do so every twenty megabytes.
 */
export function collectSeldom(): void {
  setFlagsFromString("--external-memory-accounted-in-global-limit");
  setFlagsFromString("--heap-growing-percent=100");
}

/** Loads modules with a young generation that does not grow meanwhile. */
export async function loadLean<T>(load: () => Promise<T>): Promise<T> {
  setFlagsFromString("--semi-space-growth-factor=1");
  try {
    return await load();
  } finally {
    setFlagsFromString("--semi-space-growth-factor=2"); // V8's default
  }
}

/** Collects garbage and gives memory back whenever the process has become quiet after growing. */
export async function trimWhenQuiet(clock: Clock, signal: AbortSignal): Promise<void> {
  const collect = collector();
  let cpu = process.cpuUsage();
  let left = 0;
  let trimmedMs = Number.NEGATIVE_INFINITY;
  let first = true;
  await every(clock, PERIOD_MS, signal, () => {
    const used = process.cpuUsage(cpu);
    cpu = process.cpuUsage();
    if (first) {
      first = false;
      return;
    }
    const nowMs = clock.monotonic();
    const quiet = (used.user + used.system) / 1_000 < PERIOD_MS * QUIET_CORE_SHARE;
    const grown = process.memoryUsage().heapTotal - left > GROWN_BYTES;
    if (!quiet || !grown || nowMs - trimmedMs < AGAIN_AFTER_MS) return;
    // What was compiled since the start is known to the next start even after a kill.
    flushCompileCache();
    collect();
    cpu = process.cpuUsage();
    left = process.memoryUsage().heapTotal;
    trimmedMs = nowMs;
  });
}

function collector(): () => void {
  setFlagsFromString("--expose-gc");
  const gc: NodeJS.GCFunction = runInNewContext("gc");
  return () => void gc({ type: "major", flavor: "last-resort" });
}

/**
 * Keeps a daemon's memory near what it uses. V8 lets its young generation grow to 32 MB while
 * modules are loaded and has little reason to collect what loading left once the process is idle.
 */
import { flushCompileCache } from "node:module";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Clock, every } from "./clock.ts";

const SECOND_MS = 1_000;
const PERIOD_SECONDS = 10;
/** Quiet is less of one core than this. */
const QUIET_CORE_SHARE = 0.05;
const AGAIN_AFTER_MS = 60_000;
/** A collection costs 60 ms, some 400 on a busy machine: not worth it for less. */
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
  const quiet = new Quiet();
  let cpu = process.cpuUsage();
  let left = 0;
  let trimmedMs = Number.NEGATIVE_INFINITY;
  await every(clock, SECOND_MS, signal, () => {
    const used = process.cpuUsage(cpu);
    cpu = process.cpuUsage();
    if (!quiet.after((used.user + used.system) / 1_000)) return;
    const nowMs = clock.monotonic();
    const grown = process.memoryUsage().heapTotal - left > GROWN_BYTES;
    if (!grown || nowMs - trimmedMs < AGAIN_AFTER_MS) return;
    // What was compiled since the start is known to the next start even after a kill.
    flushCompileCache();
    collect();
    cpu = process.cpuUsage();
    left = process.memoryUsage().heapTotal;
    trimmedMs = nowMs;
  });
}

/** Whether a process is quiet, and not just about to be busy: a collection would come in its way. */
export class Quiet {
  /** Milliseconds of CPU in each of the last seconds; before the start nothing was quiet. */
  readonly #seconds = Array.from({ length: PERIOD_SECONDS }, () => Number.POSITIVE_INFINITY);

  /** One more second has gone by, with so many milliseconds of CPU in it. */
  after(cpuMs: number): boolean {
    this.#seconds.shift();
    this.#seconds.push(cpuMs);
    const bound = SECOND_MS * QUIET_CORE_SHARE;
    return cpuMs < bound && this.#seconds.reduce((sum, ms) => sum + ms) < PERIOD_SECONDS * bound;
  }
}

function collector(): () => void {
  setFlagsFromString("--expose-gc");
  const gc: NodeJS.GCFunction = runInNewContext("gc");
  return () => void gc({ type: "major", flavor: "last-resort" });
}

/** A progress bar on a terminal that people look at, nothing elsewhere. The only importer of cli-progress. */
import { createRequire } from "node:module";
import type { SingleBar } from "cli-progress";
import type { Clock } from "./clock.ts";
import type { Terminal } from "./terminal.ts";

export type Progress = {
  update(done: number, total: number, note?: string): void;
  /** Removes the bar; call it always. */
  end(): void;
};

export const noProgress: Progress = { update: () => {}, end: () => {} };

/** Loaded when a bar is drawn: few commands get there. */
const loadCliProgress = (): typeof import("cli-progress") =>
  createRequire(import.meta.url)("cli-progress");

/** What takes less than this needs no bar. */
const SHOW_AFTER_MS = 1_000;

/**
 * A bar on stderr, first drawn when the work has taken over a second, and only on a terminal.
 * Nothing is drawn between updates, so call `update` for every step.
 */
export function progressBar(terminal: Terminal, clock: Clock, label: string): Progress {
  if (!terminal.errIsTty) return noProgress;
  const startedMs = clock.monotonic();
  let bar: SingleBar | undefined;
  return {
    update(done, total, note = "") {
      if (!bar && clock.monotonic() - startedMs < SHOW_AFTER_MS) return;
      const whole = Math.max(1, total);
      if (!bar) {
        const cliProgress = loadCliProgress();
        bar = new cliProgress.SingleBar({
          format: `${label} [{bar}] {percentage}% {note}`,
          barsize: 28,
          barCompleteChar: "=",
          barIncompleteChar: " ",
          clearOnComplete: true,
          hideCursor: null,
          gracefulExit: false,
          stream: terminal.stderr,
        });
        bar.start(whole, Math.min(done, whole), { note });
      }
      bar.setTotal(whole);
      bar.update(Math.min(done, whole), { note });
    },
    end() {
      bar?.stop();
      bar = undefined;
    },
  };
}

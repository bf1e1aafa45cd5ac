/**
 * When what was learned from the history is learned anew: after imports that came or went, and
 * where workloads or what is known of the past changed. Several at once are waited for.
 */
import { type Clock, every } from "../shared/runtime/clock.ts";

export type RelearningDeps = {
  clock: Clock;
  /** The history is about to be another one. */
  freeze(): void;
  /** Forecasts, from the whole history. */
  forecasts(signal: AbortSignal): Promise<void>;
  /** Policy and prices; false when there is no demand of declared workloads. */
  prices(signal: AbortSignal): Promise<boolean>;
};

/** Real time, as are the following: for more to come. */
const SETTLE_MS = 500;
/** While there is no demand of declared workloads. */
const RETRY_MS = 5_000;
const LOOK_MS = 250;

export class Relearning {
  readonly #deps: RelearningDeps;
  #dueMs = 0;
  #forecasts = false;
  /** Changes of the history that have begun and not ended. */
  #changing = 0;

  constructor(deps: RelearningDeps) {
    this.#deps = deps;
  }

  run(signal: AbortSignal): Promise<void> {
    return every(this.#deps.clock, LOOK_MS, signal, () => this.#look(signal));
  }

  historyChanges(): void {
    this.#changing++;
    this.#deps.freeze();
  }

  /** Once for each `historyChanges`. */
  historyChanged(): void {
    this.#changing--;
    this.pastChanged();
  }

  /** What is to be learned from the history is different. */
  pastChanged(): void {
    this.#forecasts = true;
    this.workloadsChanged();
  }

  workloadsChanged(): void {
    this.#dueMs = this.#deps.clock.monotonic() + SETTLE_MS;
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { clock, forecasts, prices } = this.#deps;
    if (this.#changing > 0 || clock.monotonic() < this.#dueMs) return;
    this.#dueMs = Number.POSITIVE_INFINITY;
    if (this.#forecasts) {
      this.#forecasts = false;
      await forecasts(signal);
    }
    if (!(await prices(signal))) this.#dueMs = Math.min(this.#dueMs, clock.monotonic() + RETRY_MS);
  }
}

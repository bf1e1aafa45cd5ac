/**
 * When a category's environment is loaded and how long it stays: the program over the hazard
 * (decide.ts) and the simple policies (keep-alive.ts), mixed by what each would have cost
 * (mixture.ts). One `Prewarm` is one configuration of it; the live planner's, those of the price
 * scale and those of a backtest are the same code.
 */
import { carried, type Economics, paysNow, type Support, shouldHold } from "./decide.ts";
import type { IdleTimes } from "./keep-alive.ts";
import { Mixture, type MixtureState, unanimous } from "./mixture.ts";

/** One category at the start of a minute: all that a decision about it looks at. */
export type View = {
  /** P(arrival in this minute). */
  readonly next: number;
  /** `[k]`: P(arrival in minute k from now | none before); `[0]` is `next`. */
  readonly hazardPerMinute: ArrayLike<number>;
  /** Largest of them. */
  readonly peak: number;
  /** Minutes since the last arrival; at least 1. */
  idleMinutes: number;
  idle: IdleTimes;
};

export function viewOf(
  hazardPerMinute: ArrayLike<number>,
  idleMinutes: number,
  idle: IdleTimes,
): View {
  const next = hazardPerMinute[0] ?? 0;
  return { next, hazardPerMinute, peak: peakOf(hazardPerMinute), idleMinutes, idle };
}

export function peakOf(hazardPerMinute: ArrayLike<number>): number {
  let peak = 0;
  for (let k = 0; k < hazardPerMinute.length; k++) peak = Math.max(peak, hazardPerMinute[k] ?? 0);
  return peak;
}

/** The program's two answers about one view, each computed once. */
class Program {
  readonly #view: View;
  readonly #economics: Economics;
  #keep: boolean | undefined;
  #start: boolean | undefined;

  constructor(view: View, economics: Economics) {
    this.#view = view;
    this.#economics = economics;
  }

  acts(ready: boolean): boolean {
    if (ready) {
      this.#keep ??= this.#ask(true);
      return this.#keep;
    }
    this.#start ??= this.#ask(false);
    return this.#start;
  }

  #ask(ready: boolean): boolean {
    // What pays in this very minute needs no look at the later ones.
    if (ready && paysNow(this.#view.next, this.#economics)) return true;
    const { hazardPerMinute, peak } = this.#view;
    return shouldHold(hazardPerMinute, peak, ready, this.#economics);
  }
}

type Asked = { view: View; economics: Economics; program: Program };

export class Prewarm {
  readonly #mixture = new Mixture();
  /** Views that decisions were made on, until their minute is over. */
  readonly #asked = new Map<string, Asked>();

  /** Who has a say about a category now. */
  support(
    key: string,
    { idleMinutes, idle }: Pick<View, "idleMinutes" | "idle">,
    leadMinutes: number,
  ): Support {
    return this.#mixture.support(key, idleMinutes, leadMinutes, idle);
  }

  /** By `EXPERT_NAMES`; a copy. */
  weights(key: string): Float64Array {
    return this.#mixture.weights(key).slice();
  }

  /** Whether it shall be there in this minute: held if it is ready, else loaded from now on. */
  wants(key: string, view: View, economics: Economics, ready: boolean): boolean {
    const { program } = this.#ask(key, view, economics);
    const acts = program.acts(ready);
    const { idleMinutes, idle } = view;
    const { leadMinutes } = economics;
    // Where all agree nobody has to be weighed.
    if (unanimous(acts, idleMinutes, leadMinutes, idle)) return acts;
    return carried(acts, this.#mixture.support(key, idleMinutes, leadMinutes, idle));
  }

  /** The minute that begins with this view is over. Once per category and minute, in order. */
  settle(key: string, view: View, economics: Economics, arrived: boolean): void {
    const { program } = this.#ask(key, view, economics);
    const { idleMinutes, idle } = view;
    this.#mixture.settle(key, { arrived, idleMinutes, economics, program }, idle);
  }

  endMinute(): void {
    this.#asked.clear();
    this.#mixture.endMinute();
  }

  retain(keys: ReadonlySet<string>): void {
    this.#mixture.retain(keys);
  }

  state(): MixtureState {
    return this.#mixture.state();
  }

  restore(state: MixtureState): void {
    this.#mixture.restore(state);
  }

  #ask(key: string, view: View, economics: Economics): Asked {
    const known = this.#asked.get(key);
    if (known?.view === view) return known;
    const asked = { view, economics, program: new Program(view, economics) };
    this.#asked.set(key, asked);
    return asked;
  }
}

/**
 * When a category's environment is loaded and how long it stays: the program over the hazard
 * (decide.ts) and the simple policies (keep-alive.ts), mixed by what each would have cost
 * (mixture.ts). One `Prewarm` is one configuration of it; the live planner's, those of the price
 * scale and those of a backtest are the same code.
 */
import { type Economics, paysNow, type Support, shouldHold } from "./decide.ts";
import type { IdleTimes } from "./keep-alive.ts";
import {
  type MixedCategory,
  Mixture,
  type MixtureState,
  unanimous,
  type Votes,
  votesOf,
} from "./mixture.ts";

/** One category at the start of a minute: all that a decision about it looks at. */
export type View = {
  /** P(arrival in this minute). */
  readonly next: number;
  /** `[k]`: P(arrival in minute k from now | none before); `[0]` is `next`. */
  readonly hazardPerMinute: ArrayLike<number>;
  /** Largest of them. */
  readonly peak: number;
  /** Minutes since the last arrival; at least 1. */
  readonly idleMinutes: number;
  readonly votes: Votes;
};

export function viewOf(
  hazardPerMinute: ArrayLike<number>,
  idleMinutes: number,
  idle: IdleTimes,
  leadMinutes: number,
): View {
  const next = hazardPerMinute[0] ?? 0;
  const votes = votesOf(idleMinutes, leadMinutes, idle);
  return { next, hazardPerMinute, peak: peakOf(hazardPerMinute), idleMinutes, votes };
}

export function peakOf(hazardPerMinute: ArrayLike<number>): number {
  let peak = 0;
  for (let k = 0; k < hazardPerMinute.length; k++) peak = Math.max(peak, hazardPerMinute[k] ?? 0);
  return peak;
}

/** One category in one `Prewarm`: its part of the mixture, and the program's answers about a view. */
export class Prewarmed {
  readonly mixed: MixedCategory;
  #view: View | null = null;
  #economics: Economics | null = null;
  #keep: boolean | null = null;
  #start: boolean | null = null;

  constructor(mixed: MixedCategory) {
    this.mixed = mixed;
  }

  /** The minute that `acts` is asked about from now on, at the economics it began with. */
  look(view: View, economics: Economics): void {
    if (this.#view === view) return;
    this.#view = view;
    this.#economics = economics;
    this.#keep = null;
    this.#start = null;
  }

  /** Whether the program holds what is ready, or starts what is absent; computed once each. */
  acts(ready: boolean): boolean {
    if (ready) {
      this.#keep ??= this.#ask(true);
      return this.#keep;
    }
    this.#start ??= this.#ask(false);
    return this.#start;
  }

  #ask(ready: boolean): boolean {
    const view = this.#view;
    const economics = this.#economics;
    if (!view || !economics) return false;
    // What pays in this very minute needs no look at the later ones.
    if (ready && paysNow(view.next, economics)) return true;
    return shouldHold(view.hazardPerMinute, view.peak, ready, economics);
  }
}

export class Prewarm {
  readonly #mixture = new Mixture();
  readonly #categories = new Map<string, Prewarmed>();

  /** For `wants` and `settle`, until it is dropped by `retain` or `restore`. */
  category(key: string): Prewarmed {
    let category = this.#categories.get(key);
    if (!category) {
      category = new Prewarmed(this.#mixture.category(key));
      this.#categories.set(key, category);
    }
    return category;
  }

  /** Who has a say about a category now. */
  support(key: string, votes: Votes): Support {
    return this.#mixture.support(this.#mixture.known(key), votes);
  }

  /** Whether it shall be there in this minute: held if it is ready, else loaded from now on. */
  wants(category: Prewarmed, view: View, economics: Economics, ready: boolean): boolean {
    category.look(view, economics);
    const acts = category.acts(ready);
    // Where all agree nobody has to be weighed.
    if (unanimous(acts, view.votes)) return acts;
    return this.#mixture.carries(category.mixed, acts, view.votes);
  }

  /** The minute that begins with this view is over. Once per category and minute, in order. */
  settle(category: Prewarmed, view: View, economics: Economics, arrived: boolean): void {
    category.look(view, economics);
    const { votes } = view;
    this.#mixture.settle(category.mixed, { arrived, votes, economics, program: category });
  }

  endMinute(): void {
    this.#mixture.endMinute();
  }

  retain(keys: ReadonlySet<string>): void {
    for (const key of this.#categories.keys()) if (!keys.has(key)) this.#categories.delete(key);
    this.#mixture.retain(keys);
  }

  state(): MixtureState {
    return this.#mixture.state();
  }

  restore(state: MixtureState): void {
    this.#categories.clear();
    this.#mixture.restore(state);
  }
}

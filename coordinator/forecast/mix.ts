/**
 * Shares of the experts in the mix: exponential weights on their pinball loss, each loss taken
 * relative to the mean of the experts that spoke, so that busy and quiet categories weigh alike
 * and a new category starts from what has worked for all (Cesa-Bianchi & Lugosi 2006, ch. 2;
 * experts that are silent sleep, Freund et al. 1997).
 */
const LEARNING_RATE = 2;
/** Older rounds fade, so that another expert may take over when the demand changes. */
const KEEP = 0.97;
/** What all categories taught counts like that many rounds of its own. */
const POOLED_ROUNDS = 3;

export type MixState = { experts: Record<string, [loss: number, rounds: number]> };

export class Mix {
  #experts = new Map<string, { loss: number; rounds: number }>();

  /** One round: the losses of those that spoke. */
  learn(losses: ReadonlyMap<string, number>): void {
    let sum = 0;
    for (const loss of losses.values()) sum += loss;
    const mean = sum / losses.size;
    if (!(mean > 0)) return;
    for (const [name, loss] of losses) {
      const expert = this.#experts.get(name) ?? { loss: 0, rounds: 0 };
      expert.loss = expert.loss * KEEP + loss / mean - 1;
      expert.rounds = expert.rounds * KEEP + 1;
      this.#experts.set(name, expert);
    }
  }

  /**
   * Shares of `names`, which sum to 1; `priors` are `prior`s of other mixes, `start` what an expert
   * counts for before anything was learned (1 when left out).
   */
  weights(
    names: readonly string[],
    priors: readonly ((name: string) => number)[] = [],
    start: ReadonlyMap<string, number> = new Map(),
  ): Map<string, number> {
    const scores = names.map((name) => {
      const prior = priors.reduce((sum, of) => sum + of(name), 0);
      return Math.log(start.get(name) ?? 1) - LEARNING_RATE * (this.#regret(name) + prior);
    });
    const best = Math.max(...scores);
    const raw = scores.map((score) => Math.exp(score - best));
    const sum = raw.reduce((a, b) => a + b, 0);
    return new Map(names.map((name, i) => [name, (raw[i] ?? 0) / sum]));
  }

  /** Rounds learned, faded. */
  get rounds(): number {
    return Math.max(0, ...[...this.#experts.values()].map(({ rounds }) => rounds));
  }

  /** What it taught of an expert counts in another mix like so many rounds; null: nothing. */
  prior(name: string, rounds = POOLED_ROUNDS): number | null {
    const expert = this.#experts.get(name);
    return expert ? (expert.loss / expert.rounds) * Math.min(expert.rounds, rounds) : null;
  }

  state(): MixState {
    const rows = [...this.#experts].map(([name, { loss, rounds }]) => [name, [loss, rounds]]);
    return { experts: Object.fromEntries(rows) };
  }

  static restore(state: MixState): Mix {
    const mix = new Mix();
    for (const [name, [loss, rounds]] of Object.entries(state.experts)) {
      mix.#experts.set(name, { loss, rounds });
    }
    return mix;
  }

  #regret(name: string): number {
    return this.#experts.get(name)?.loss ?? 0;
  }
}

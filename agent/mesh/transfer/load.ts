/**
 * What is under way, to one host or in all. A request sees only what is under way for requests:
 * staging that makes way for it may lie where it was asked for, and stands in no request's way.
 */
type Way = { bytes: number; background: boolean };
export type Amount = { units: number; bytes: number };

export class Load {
  readonly #all: Amount = { units: 0, bytes: 0 };
  readonly #requests: Amount = { units: 0, bytes: 0 };

  begin(flight: Way): void {
    this.#count(flight, 1);
  }

  end(flight: Way): void {
    this.#count(flight, -1);
  }

  /** As it counts for a want. */
  seenBy({ foreground }: { foreground: boolean }): Readonly<Amount> {
    return foreground ? this.#requests : this.#all;
  }

  #count({ bytes, background }: Way, by: 1 | -1): void {
    for (const amount of background ? [this.#all] : [this.#all, this.#requests]) {
      amount.units += by;
      amount.bytes += by * bytes;
    }
  }
}

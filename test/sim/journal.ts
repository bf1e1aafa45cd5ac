/** What happened, as a running hash of every line and the newest lines themselves. */
export const LINES_KEPT = 50;

export class Journal {
  readonly #now: () => number;
  readonly #lines: string[] = [];
  #low = 0x811c9dc5;
  #high = 0x9747b28c;
  /** Lines noted so far. */
  count = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  note(line: string): void {
    this.#lines[this.count++ % LINES_KEPT] = this.digestOnly(line);
  }

  /** For what happens too often to be worth a line. */
  digestOnly(line: string): string {
    const stamped = `${this.#now().toFixed(3)} ${line}`;
    let low = this.#low;
    let high = this.#high;
    for (let i = 0; i < stamped.length; i++) {
      const code = stamped.charCodeAt(i);
      low = Math.imul(low ^ code, 0x01000193);
      high = Math.imul(high ^ code, 0x85ebca6b) ^ (high >>> 13);
    }
    this.#low = low;
    this.#high = high;
    return stamped;
  }

  /** The newest lines, oldest first. */
  newest(): string[] {
    const at = this.count % LINES_KEPT;
    return this.count <= LINES_KEPT
      ? [...this.#lines]
      : [...this.#lines.slice(at), ...this.#lines.slice(0, at)];
  }

  /** Equal for equal runs. */
  digest(): string {
    const hex = (n: number) => (n >>> 0).toString(16).padStart(8, "0");
    return hex(this.#low) + hex(this.#high);
  }
}

/**
 * Whether a host may need some of what comes into its site: not while all that it stages has come
 * from the site itself for a while. Who has staged nothing of late may be the one that fetches.
 */
const NEAR_ONLY_MS = 3_000;
const FORGOTTEN_MS = 10_000;

export class Taking {
  #sinceMs: number | null = null;
  #stagedMs = Number.NEGATIVE_INFINITY;

  /** What is staged now comes from here or there; null: nothing is. */
  note(from: "site" | "outside" | null, nowMs: number): void {
    if (from !== null) this.#stagedMs = nowMs;
    if (from === "site") this.#sinceMs ??= nowMs;
    else if (from === "outside" || nowMs - this.#stagedMs > FORGOTTEN_MS) this.#sinceMs = null;
  }

  takes(nowMs: number): boolean {
    return this.#sinceMs === null || nowMs - this.#sinceMs < NEAR_ONLY_MS;
  }
}

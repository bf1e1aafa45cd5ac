/**
 * Which refusals become audit rows now. The first of a kind does; repeats are counted and become
 * one row when the minute is over; over all kinds at most `ROWS_PER_WINDOW` rows a minute, the
 * rest is one count. Nothing is lost from the counts.
 */
import type { AuditEntry } from "./audit.ts";

type Counted = { entry: AuditEntry; sinceMs: number; repeats: number };

export const REFUSAL_WINDOW_MS = 60_000;
export const ROWS_PER_WINDOW = 60;
const KINDS_MAX = 500;

export class RefusalThrottle {
  readonly #kinds = new Map<string, Counted>();
  #windowMs = Number.NEGATIVE_INFINITY;
  #rows = 0;
  #overflow = 0;

  /** Rows to write now for this refusal and for what fell due before it. */
  offer(entry: AuditEntry, nowMs: number): AuditEntry[] {
    const rows = this.due(nowMs);
    const key = [
      entry.actor,
      entry.address,
      entry.action,
      entry.object,
      entry.detail?.code,
      entry.detail?.reason,
    ].join("\n");
    const counted = this.#kinds.get(key);
    if (counted) {
      counted.repeats++;
      return rows;
    }
    if (this.#rows >= ROWS_PER_WINDOW || this.#kinds.size >= KINDS_MAX) {
      this.#overflow++;
      return rows;
    }
    this.#rows++;
    this.#kinds.set(key, { entry, sinceMs: nowMs, repeats: 0 });
    return [...rows, entry];
  }

  /** Counts whose window is over, as rows; the kinds without repeats are forgotten. */
  due(nowMs: number): AuditEntry[] {
    const rows: AuditEntry[] = [];
    for (const [key, { entry, sinceMs, repeats }] of this.#kinds) {
      if (nowMs - sinceMs < REFUSAL_WINDOW_MS) continue;
      this.#kinds.delete(key);
      if (repeats > 0) rows.push({ ...entry, detail: { ...entry.detail, repeats } });
    }
    if (nowMs - this.#windowMs >= REFUSAL_WINDOW_MS) {
      if (this.#overflow > 0)
        rows.push({
          actor: "unknown",
          address: "many",
          action: "refusals",
          object: "",
          outcome: "refused",
          detail: { repeats: this.#overflow },
        });
      this.#overflow = 0;
      this.#rows = 0;
      this.#windowMs = nowMs === Number.POSITIVE_INFINITY ? this.#windowMs : nowMs;
    }
    return rows;
  }
}

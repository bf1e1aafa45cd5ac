/**
 * Points of Prometheus series to requests per minute. The point at time t tells of the step that
 * ends there. A counter tells the sum since its process began; what is added between two points
 * happened between them, and where it fell the process began anew and all it shows was added since
 * (the rule of `increase()`, without its extrapolation, so that counts stay whole).
 */
import { createHash } from "node:crypto";
import { DEMAND_BIN_MS } from "../../shared/domain.ts";

export type Labels = Readonly<Record<string, string>>;
export type PromSeries = { metric: Labels; values: readonly (readonly [number, string])[] };

/**
 * `counter`: requests since the process began. `gauge`: requests within one step, such as
 * `increase(x[1m])` gives. `rate`: requests per second.
 */
export type PromKind = "counter" | "gauge" | "rate";

export type Minute = { startMs: number; count: number };
type Seen = { atMs: number; value: number };

/** Minutes of a series, chunk of points after chunk. */
export class PromCounts {
  readonly #kind: PromKind;
  readonly #stepMs: number;
  readonly #last = new Map<string, Seen>();
  /** When a scrape target was first seen, by job and instance. */
  readonly #targets = new Map<string, number>();
  /** Points that are no number a count can be. */
  bad = 0;
  points = 0;

  constructor(kind: PromKind, stepMs: number) {
    this.#kind = kind;
    this.#stepMs = stepMs;
  }

  get seriesSeen(): number {
    return this.#last.size;
  }

  /** All series of one chunk must have been `seen` before the first is counted. */
  seen(chunk: readonly PromSeries[]): void {
    for (const { metric, values } of chunk) {
      const target = targetOf(metric);
      const firstMs = (values[0]?.[0] ?? Number.POSITIVE_INFINITY) * 1000;
      if (target !== null && firstMs < (this.#targets.get(target) ?? Number.POSITIVE_INFINITY))
        this.#targets.set(target, firstMs);
    }
  }

  /** Minutes with requests that the next points of a series tell of. */
  *count({ metric, values }: PromSeries): Generator<Minute> {
    const key = keyOf(metric);
    let last = this.#last.get(key);
    for (const [seconds, text] of values) {
      this.points++;
      const atMs = Math.round(seconds * 1000);
      const value = Number(text);
      if (!Number.isFinite(value) || value < 0 || value > Number.MAX_SAFE_INTEGER) {
        this.bad++;
        continue;
      }
      const now = { atMs, value };
      const { fromMs, requests } = this.#told(now, last, metric);
      if (requests > 0) yield* spread(key, fromMs, atMs, requests);
      last = now;
    }
    if (last) this.#last.set(key, last);
  }

  #told(now: Seen, last: Seen | undefined, metric: Labels): { fromMs: number; requests: number } {
    const stepFromMs = now.atMs - this.#stepMs;
    if (this.#kind === "gauge") return { fromMs: stepFromMs, requests: now.value };
    if (this.#kind === "rate")
      return { fromMs: stepFromMs, requests: (now.value * this.#stepMs) / 1000 };
    if (last === undefined) {
      // The first request of a label is the first there is of its counter: where its process was
      // seen before without it, all it shows was added since. Else nobody knows since when.
      const target = targetOf(metric);
      const born = target !== null && (this.#targets.get(target) ?? now.atMs) < now.atMs;
      return { fromMs: stepFromMs, requests: born ? now.value : 0 };
    }
    const added = now.value < last.value ? now.value : now.value - last.value;
    return { fromMs: last.atMs, requests: added };
  }
}

/** Requests over the minutes of a time, whole numbers that add up; a rest falls by chance. */
function* spread(key: string, fromMs: number, toMs: number, requests: number): Generator<Minute> {
  const whole = Math.floor(requests + 1e-9);
  const rest = requests - whole;
  const total = whole + (rest > 1e-9 && chance(key, toMs) < rest ? 1 : 0);
  const first = Math.floor(fromMs / DEMAND_BIN_MS);
  const minutes = Math.max(1, Math.ceil(toMs / DEMAND_BIN_MS) - first);
  let given = 0;
  for (let i = 0; i < minutes; i++) {
    const upTo = Math.floor((total * (i + 1)) / minutes);
    if (upTo > given) yield { startMs: (first + i) * DEMAND_BIN_MS, count: upTo - given };
    given = upTo;
  }
}

/** Uniform in [0, 1), always the same for the same point: reading it again gives the same count. */
function chance(key: string, atMs: number): number {
  return createHash("sha256").update(`${atMs}/${key}`).digest().readUInt32BE() / 2 ** 32;
}

/** What was scraped, null when the query sums over what was. */
function targetOf({ job = "", instance }: Labels): string | null {
  return instance === undefined ? null : `${job}/${instance}`;
}

export function keyOf(metric: Labels): string {
  return JSON.stringify(Object.entries(metric).sort(([a], [b]) => (a < b ? -1 : 1)));
}

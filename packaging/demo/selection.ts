/**
 * Which of a trace's series the demo plays, and how its time is cut: the last part is played, a
 * short run-in before it is played but not measured, everything before that is history.
 */
import { createHash } from "node:crypto";
import { PrestageError } from "../../shared/errors.ts";
import type { Random } from "../../shared/runtime/random.ts";

export const MINUTE_MS = 60_000;

export type Row = {
  timestampMs: number;
  workload: string;
  category: string;
  origin: string;
  count: number;
};

/** Requests of one (workload, category): `minutes` maps the start of a minute to its rows. */
export type Series = {
  workload: string;
  category: string;
  rows: Row[];
};

export type Window = {
  /** Start of the whole trace. */
  fromMs: number;
  runInMs: number;
  playMs: number;
  endMs: number;
  /** All times are whole minutes: counts, not moments. */
  binned: boolean;
};

export type Selection = {
  window: Window;
  series: Series[];
  /** Why the others are not played. */
  left: { constant: number; silent: number; notChosen: number };
};

/** Active in at least this share of all minutes is constant: nothing to learn there. */
const CONSTANT_SHARE = 0.9;
/** With fewer requests than this before the run-in there is no history to speak of. */
const HISTORY_REQUESTS_MIN = 2;
const SERIES_MAX = 200_000;

export class TraceCollector {
  readonly #series = new Map<string, Series>();
  #firstMs = Number.POSITIVE_INFINITY;
  #lastMs = Number.NEGATIVE_INFINITY;
  #binned = true;

  add(row: Row): void {
    const key = `${row.workload}/${row.category}`;
    let series = this.#series.get(key);
    if (!series) {
      if (this.#series.size >= SERIES_MAX)
        throw new PrestageError("TOO_LARGE", `the trace has over ${SERIES_MAX} series`);
      series = { workload: row.workload, category: row.category, rows: [] };
      this.#series.set(key, series);
    }
    series.rows.push(row);
    this.#firstMs = Math.min(this.#firstMs, row.timestampMs);
    this.#lastMs = Math.max(this.#lastMs, row.timestampMs);
    this.#binned &&= row.timestampMs % MINUTE_MS === 0;
  }

  /** Ordered by name, so that the order of the file does not matter. */
  finish(): { series: Series[]; firstMs: number; lastMs: number; binned: boolean } {
    const series = [...this.#series.entries()]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, value]) => value);
    return { series, firstMs: this.#firstMs, lastMs: this.#lastMs, binned: this.#binned };
  }
}

/**
 * At most `count` series, chosen by chance among those that are neither constant (left out only
 * when `leaveConstant`) nor silent in the played part.
 */
export function select(
  trace: ReturnType<TraceCollector["finish"]>,
  options: { playMinutes: number; runInMinutes: number; count: number; leaveConstant: boolean },
  random: Random,
): Selection {
  const window = windowOf(trace, options);
  const left = { constant: 0, silent: 0, notChosen: 0 };
  const candidates = trace.series.filter((series) => {
    if (isSilent(series, window)) left.silent++;
    else if (options.leaveConstant && isConstant(series, window)) left.constant++;
    else return true;
    return false;
  });
  if (candidates.length === 0)
    throw new PrestageError(
      "USAGE",
      `nothing to play: ${left.silent} series are silent in the played part or before it, ` +
        `${left.constant} are constant; try another --duration or trace`,
    );
  const chosen = shuffled(candidates, random).slice(0, options.count);
  left.notChosen = candidates.length - chosen.length;
  return { window, series: renamed(trace.series.filter((s) => chosen.includes(s))), left };
}

function windowOf(
  trace: { firstMs: number; lastMs: number; binned: boolean },
  options: { playMinutes: number; runInMinutes: number },
): Window {
  const endMs = (Math.floor(trace.lastMs / MINUTE_MS) + 1) * MINUTE_MS;
  const playMs = endMs - options.playMinutes * MINUTE_MS;
  const fromMs = Math.floor(trace.firstMs / MINUTE_MS) * MINUTE_MS;
  if (playMs <= fromMs + MINUTE_MS)
    throw new PrestageError("USAGE", "the trace is too short: nothing before the played part", {
      details: { minutes: Math.round((endMs - fromMs) / MINUTE_MS) },
    });
  const runInMs = Math.max(fromMs + MINUTE_MS, playMs - options.runInMinutes * MINUTE_MS);
  return { fromMs, runInMs, playMs, endMs, binned: trace.binned };
}

function isSilent({ rows }: Series, { runInMs, playMs }: Window): boolean {
  let history = 0;
  let played = 0;
  for (const { timestampMs, count } of rows) {
    if (timestampMs < runInMs) history += count;
    if (timestampMs >= playMs) played += count;
  }
  return played === 0 || history < HISTORY_REQUESTS_MIN;
}

function isConstant({ rows }: Series, { fromMs, endMs }: Window): boolean {
  const active = new Set(rows.map((row) => Math.floor(row.timestampMs / MINUTE_MS)));
  return active.size >= (CONSTANT_SHARE * (endMs - fromMs)) / MINUTE_MS;
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.int(i + 1);
    [order[i], order[j]] = [order[j] as T, order[i] as T];
  }
  return order;
}

/** Room for `-CATEGORY-data` within an artifact name's 64 characters. */
const WORKLOAD_CHARS = 30;
const CATEGORY_CHARS = 24;

/** Names short and plain enough to stand in URLs and artifact names. */
function renamed(series: Series[]): Series[] {
  return series.map((s) => {
    const workload = plainName(s.workload, WORKLOAD_CHARS);
    const category = plainName(s.category, CATEGORY_CHARS);
    return { workload, category, rows: s.rows.map((row) => ({ ...row, workload, category })) };
  });
}

/** The text itself when it is a plain short name, else its beginning and a hash of the whole. */
export function plainName(text: string, chars: number): string {
  const plain = text
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "");
  if (plain === text && plain.length <= chars) return plain;
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 6);
  const start = plain.slice(0, chars - 7).replace(/-+$/, "");
  return start === "" ? `x-${hash}` : `${start}-${hash}`;
}

/**
 * The built-in workload of the demo: seeded request counts per minute over four days and a bit, in
 * the shapes that real services show. Parameters are drawn per workload from the seed:
 *
 * | shape     | what it does                                                                     |
 * | --------- | -------------------------------------------------------------------------------- |
 * | daily     | Poisson, 3–6 a minute at the peak at 14:00 UTC, a tenth of it at night            |
 * | timer     | 1–3 requests every 12, 15, 20 or 30 minutes exactly; 2 % of firings are missed    |
 * | bursts    | every 30–70 minutes on average (Poisson) 5–15 a minute for 4–10 minutes           |
 * | sparse    | single requests, exponential gaps with a mean of 15–45 minutes: nobody can know them |
 * | sessions  | visits every 20–40 minutes on average, each 3–8 requests 1–4 minutes apart        |
 * | office    | 08:00–18:00 UTC on weekdays, one request every 5–12 minutes on average            |
 * | regional  | three categories (eu, us, asia), each a thin daily curve shifted by 8 hours       |
 *
 * The played hour ends on a Friday at 15:00 UTC.
 */
import type { Random } from "../../shared/runtime/random.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MINUTES = 1_440;

/** A Monday. */
export const GENERATED_START_MS = Date.UTC(2026, 2, 2);
/** Friday, 15:00. */
export const GENERATED_END_MS = GENERATED_START_MS + (4 * 24 + 15) * HOUR_MS;

export type GeneratedRow = {
  timestampMs: number;
  workload: string;
  category: string;
  origin: string;
  count: number;
};

type Counts = (random: Random, minutes: number) => Uint16Array;
type Plan = { name: string; categories: { name: string; counts: Counts }[] };

const single = (name: string, counts: Counts): Plan => ({
  name,
  categories: [{ name: "default", counts }],
});

/** In the order in which `--workloads N` takes them; beyond its end it starts again, numbered. */
const PLANS: Plan[] = [
  single("shop", daily),
  single("invoices", timer),
  single("thumbnails", bursts),
  single("archive", sparse),
  single("player", sessions),
  single("desk", office),
  {
    name: "maps",
    categories: [
      { name: "eu", counts: regional(13) },
      { name: "us", counts: regional(21) },
      { name: "asia", counts: regional(5) },
    ],
  },
  single("reports", timer),
  single("vision", bursts),
  single("notes", sparse),
  single("chat", sessions),
  single("sync", timer),
];

/** Rows of `workloads` generated workloads, one per category and minute with requests. */
export function* generateRows(random: Random, workloads: number): Generator<GeneratedRow> {
  const minutes = (GENERATED_END_MS - GENERATED_START_MS) / MINUTE_MS;
  for (let i = 0; i < workloads; i++) {
    const plan = PLANS[i % PLANS.length] as Plan;
    const round = Math.floor(i / PLANS.length);
    const workload = round === 0 ? plan.name : `${plan.name}-${round + 1}`;
    for (const category of plan.categories) {
      const counts = category.counts(random.fork(`${workload}/${category.name}`), minutes);
      for (let minute = 0; minute < minutes; minute++) {
        const count = counts[minute] ?? 0;
        if (count === 0) continue;
        const timestampMs = GENERATED_START_MS + minute * MINUTE_MS;
        yield { timestampMs, workload, category: category.name, origin: "", count };
      }
    }
  }
}

const between = (random: Random, low: number, high: number) => low + random.next() * (high - low);
const whole = (random: Random, low: number, high: number) => low + random.int(high - low + 1);

/** 1 at `peakHour` UTC, falling to 0.1 twelve hours away. */
function dayCurve(minute: number, peakHour: number): number {
  const angle = ((minute % DAY_MINUTES) / DAY_MINUTES - peakHour / 24) * 2 * Math.PI;
  return 0.1 + 0.9 * ((1 + Math.cos(angle)) / 2) ** 2;
}

function daily(random: Random, minutes: number): Uint16Array {
  const peak = between(random, 3, 6);
  return Uint16Array.from({ length: minutes }, (_, m) => poisson(random, peak * dayCurve(m, 14)));
}

function regional(peakHour: number): Counts {
  return (random, minutes) => {
    const peak = 1 / between(random, 3, 9);
    return Uint16Array.from({ length: minutes }, (_, m) =>
      poisson(random, peak * dayCurve(m, peakHour)),
    );
  };
}

function timer(random: Random, minutes: number): Uint16Array {
  const period = random.pick([12, 15, 20, 30]);
  const phase = random.int(period);
  const requests = whole(random, 1, 3);
  return Uint16Array.from({ length: minutes }, (_, m) =>
    m % period === phase && random.next() >= 0.02 ? requests : 0,
  );
}

function bursts(random: Random, minutes: number): Uint16Array {
  const counts = new Uint16Array(minutes);
  const gap = between(random, 30, 70);
  for (let at = random.exponential(gap); at < minutes; at += random.exponential(gap)) {
    const rate = between(random, 5, 15);
    const until = Math.min(minutes, at + whole(random, 4, 10));
    for (let m = Math.floor(at); m < until; m++) add(counts, m, poisson(random, rate));
  }
  return counts;
}

function sparse(random: Random, minutes: number): Uint16Array {
  const counts = new Uint16Array(minutes);
  const gap = between(random, 15, 45);
  for (let at = random.exponential(gap); at < minutes; at += random.exponential(gap))
    add(counts, Math.floor(at), 1);
  return counts;
}

function sessions(random: Random, minutes: number): Uint16Array {
  const counts = new Uint16Array(minutes);
  const gap = between(random, 20, 40);
  for (let start = random.exponential(gap); start < minutes; start += random.exponential(gap)) {
    let at = start;
    for (let left = whole(random, 3, 8); left > 0 && at < minutes; left--) {
      add(counts, Math.floor(at), 1);
      at += between(random, 1, 4);
    }
  }
  return counts;
}

function office(random: Random, minutes: number): Uint16Array {
  const rate = 1 / between(random, 5, 12);
  return Uint16Array.from({ length: minutes }, (_, m) => {
    const hour = Math.floor((m % DAY_MINUTES) / 60);
    const weekday = Math.floor(m / DAY_MINUTES) % 7 < 5;
    return weekday && hour >= 8 && hour < 18 ? poisson(random, rate) : 0;
  });
}

function add(counts: Uint16Array, minute: number, count: number): void {
  counts[minute] = (counts[minute] ?? 0) + count;
}

/** Knuth's method: enough for the small means here. */
function poisson(random: Random, mean: number): number {
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = random.next(); product > limit; product *= random.next()) count++;
  return count;
}

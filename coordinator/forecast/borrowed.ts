/**
 * A past for a category that has hardly any: what like categories had in the days before it was
 * born, at its own level and with its own scatter. An ensemble fitted to that knows at once what a
 * day looks like here, how sure it may be, and which experts to trust.
 *
 * Like is who had the same course in the minutes the newcomer has shown; those of its workload come
 * first. Each day is taken from another, so that the days differ as real ones do.
 */
import { seededRandom } from "../../shared/runtime/random.ts";

export type Lane = { key: string; workload: string; category: string };
export type ReadLane = (of: Lane, from: number, to: number) => Float64Array;

const DAY = 1440;
const DONORS = 3;
/** So many of the likest are looked at for a past that is long enough. */
const CANDIDATES = 12;
const DONOR_DAYS_MIN = 2;
const DONOR_ACTIVE_MIN = 0.05;
/** What another workload counts against likeness, in the same unit as squared errors per bin. */
const STRANGER = 0.3;
/** Bins of a running mean that is taken for the rate. */
const RATE_REACH = 7;
/** Shown courses are compared in sums of so many bins. */
const COURSE_BINS = 5;
/** The donors' scatter counts like that many bins of the newcomer's own. */
const SCATTER_BINS = 10;
/** From there on a normal distribution stands for counts. */
const NORMAL_MEAN = 30;

/** Counts of the bins from `begin` to before `birth`; null when nobody has such a past. */
export function borrowedPast(
  of: Lane,
  { begin, birth, own }: { begin: number; birth: number; own: Float64Array },
  lanes: readonly Lane[],
  read: ReadLane,
): Float64Array | null {
  const donors = donorsOf(of, { begin, birth, own }, lanes, read);
  if (donors.length === 0) return null;
  const scatter =
    (own.length * scatterOf(own) +
      (SCATTER_BINS * donors.reduce((sum, { scatter }) => sum + scatter, 0)) / donors.length) /
    (own.length + SCATTER_BINS);
  const random = seededRandom(`borrowed ${of.key} ${birth}`);
  return Float64Array.from({ length: birth - begin }, (_, i) => {
    const donor = donors[Math.floor((begin + i) / DAY) % donors.length];
    return donor ? draw(donor.factor * (donor.rates[i] ?? 0), scatter, random) : 0;
  });
}

type Shown = { begin: number; birth: number; own: Float64Array };
type Donor = { rates: Float64Array; factor: number; scatter: number };

function donorsOf(of: Lane, shown: Shown, lanes: readonly Lane[], read: ReadLane): Donor[] {
  const { begin, birth, own } = shown;
  const ranked = lanes
    .filter(({ key }) => key !== of.key)
    .map((lane) => {
      const other = read(lane, birth, birth + own.length);
      return { lane, factor: factorOf(own, other), unlike: unlike(of, lane, own, other) };
    })
    .filter(({ unlike }) => Number.isFinite(unlike))
    .sort((a, b) => a.unlike - b.unlike || (a.lane.key < b.lane.key ? -1 : 1));
  const donors: Donor[] = [];
  for (const { lane, factor } of ranked.slice(0, CANDIDATES)) {
    const counts = read(lane, begin, birth);
    const first = counts.findIndex((count) => count > 0);
    if (first < 0 || counts.length - first < DONOR_DAYS_MIN * DAY) continue;
    const known = counts.subarray(first);
    if (activeShare(known) < DONOR_ACTIVE_MIN) continue;
    const scatter = scatterOf(known);
    const rates = smoothed(known);
    donors.push({ rates: filledFront(rates, first), factor, scatter });
    if (donors.length === DONORS) break;
  }
  return donors;
}

const sum = (counts: Float64Array) => counts.reduce((total, count) => total + count, 0);

function factorOf(own: Float64Array, other: Float64Array): number {
  return (sum(own) + 0.5) / (sum(other) + 0.5);
}

/** Mean squared difference of the courses in units of chance, and of the levels' logarithms. */
function unlike(of: Lane, lane: Lane, own: Float64Array, other: Float64Array): number {
  if (sum(other) === 0) return Number.POSITIVE_INFINITY;
  const factor = factorOf(own, other);
  let error = 0;
  let courses = 0;
  for (let at = 0; at < own.length; at += COURSE_BINS) {
    const mine = sum(own.subarray(at, at + COURSE_BINS));
    const theirs = factor * sum(other.subarray(at, at + COURSE_BINS));
    error += (mine - theirs) ** 2 / (mine + factor * theirs + 1);
    courses++;
  }
  const level = Math.log(factor);
  const stranger = of.workload === lane.workload ? 0 : STRANGER;
  // Scaling up makes more noise than there is.
  return error / courses + stranger + (level > 0 ? 0.1 : 0.02) * Math.abs(level);
}

function activeShare(counts: Float64Array): number {
  let active = 0;
  for (const count of counts) if (count > 0) active++;
  return active / counts.length;
}

/** Variance about the running mean, per mean. */
function scatterOf(counts: Float64Array): number {
  const rates = smoothed(counts);
  const bins = Math.min(counts.length, 2 * RATE_REACH + 1);
  if (bins < 3) return 1;
  let squares = 0;
  let mean = 0;
  for (let t = 0; t < counts.length; t++) {
    squares += ((counts[t] ?? 0) - (rates[t] ?? 0)) ** 2;
    mean += rates[t] ?? 0;
  }
  // The mean has the bin itself in it.
  return mean > 0 ? squares / mean / (1 - 1 / bins) : 1;
}

function smoothed(counts: Float64Array): Float64Array {
  const sums = new Float64Array(counts.length + 1);
  for (let t = 0; t < counts.length; t++) sums[t + 1] = (sums[t] ?? 0) + (counts[t] ?? 0);
  return counts.map((_, t) => {
    const from = Math.max(0, t - RATE_REACH);
    const to = Math.min(counts.length, t + RATE_REACH + 1);
    return ((sums[to] ?? 0) - (sums[from] ?? 0)) / (to - from);
  });
}

/** `missing` bins before the first: as a whole number of days later. */
function filledFront(rates: Float64Array, missing: number): Float64Array {
  return Float64Array.from({ length: missing + rates.length }, (_, i) => {
    const at = i - missing;
    return rates[at >= 0 ? at : at + Math.ceil(-at / DAY) * DAY] ?? 0;
  });
}

/** A count with that mean, and a variance of `scatter` times it. */
function draw(mean: number, scatter: number, random: ReturnType<typeof seededRandom>): number {
  if (!(mean > 0)) return 0;
  if (mean >= NORMAL_MEAN || scatter < 1)
    return Math.max(0, Math.round(mean + Math.sqrt(scatter * mean) * random.normal()));
  // Poisson of a lognormal mean.
  const spread = Math.sqrt(Math.log1p((scatter - 1) / mean));
  const rate = Math.min(700, mean * Math.exp(spread * random.normal() - (spread * spread) / 2));
  let product = random.next();
  const limit = Math.exp(-rate);
  let count = 0;
  while (product > limit) {
    product *= random.next();
    count++;
  }
  return count;
}

/**
 * What the hazard model believes before it has seen anything: made-up demand of the kinds that
 * there are, timers that are late or skip, people, bursts, retries, has taught it what idle times,
 * rhythms and clocks are worth. Little is enough to make it believe its own demand instead.
 */
import { type Random, seededRandom } from "../../shared/runtime/random.ts";
import { HazardModel, type HazardState } from "./hazard.ts";
import { Track } from "./track.ts";

/** Whether a made-up category has a request in a minute; asked for each in order. */
export type MadeUp = (minute: number) => boolean;

export const MADE_UP_MINUTES = 480;

const PERIODS = [1, 2, 3, 5, 5, 10, 10, 15, 15, 20, 30, 30, 60, 60, 120, 240];

const KINDS: readonly ((random: Random) => MadeUp)[] = [
  timer,
  timer,
  (random) => either(timer(random), chance(random, 0.02 * random.next())),
  (random) => either(timer(random), timer(random)),
  renewal,
  (random) => chance(random, between(random, 0.002, 1)),
  bursts,
  bursts,
  retries,
  (random) => either(retries(random), timer(random)),
];

export function madeUpDemand(categories: number, seed = "made-up demand"): MadeUp[] {
  const random = seededRandom(seed);
  return Array.from({ length: categories }, (_, i) => {
    const kind = KINDS[i % KINDS.length];
    return kind ? kind(random.fork(`${i}`)) : () => false;
  });
}

/** Log-uniform. */
function between(random: Random, from: number, to: number): number {
  return from * (to / from) ** random.next();
}

function either(a: MadeUp, b: MadeUp): MadeUp {
  return (minute) => {
    const one = a(minute);
    return b(minute) || one;
  };
}

function chance(random: Random, probability: number): MadeUp {
  return () => random.next() < probability;
}

/** Every so many minutes, not always whole ones; some skip a beat, some are late. */
function timer(random: Random): MadeUp {
  const usual = PERIODS[random.int(PERIODS.length)] ?? 1;
  const period = random.next() < 0.8 ? usual : between(random, 1, 180);
  const skips = random.next() < 0.6 ? 0 : 0.3 * random.next();
  const late = random.next() < 0.6 ? 0 : 0.4 * random.next();
  let due = random.next() * period;
  let at = due;
  return (minute) => {
    let came = false;
    while (at < minute + 1) {
      if (at >= minute && random.next() >= skips) came = true;
      due += period;
      at = due + (random.next() < late ? random.next() * 2 : 0);
    }
    return came;
  };
}

/** Gaps of a usual length, more or less so. */
function renewal(random: Random): MadeUp {
  const mean = between(random, 2, 200);
  const scatter = between(random, 0.1, 1.5);
  const gap = () => mean * Math.exp(scatter * random.normal() - (scatter * scatter) / 2);
  let next = random.next() * mean;
  return (minute) => {
    const came = next < minute + 1;
    while (next < minute + 1) next += gap();
    return came;
  };
}

/** Busy for a while, then silent. */
function bursts(random: Random): MadeUp {
  const [busyMinutes, silentMinutes] = [between(random, 2, 60), between(random, 10, 400)];
  const rate = between(random, 0.1, 1);
  let busy = random.next() < busyMinutes / (busyMinutes + silentMinutes);
  return () => {
    if (random.next() < 1 / (busy ? busyMinutes : silentMinutes)) busy = !busy;
    return busy && random.next() < rate;
  };
}

/** Each request may bring another in the minutes after it. */
function retries(random: Random): MadeUp {
  const rate = between(random, 0.002, 0.1);
  const follows = 0.9 * random.next();
  const within = between(random, 1, 10);
  const due: number[] = [];
  return (minute) => {
    let came = random.next() < rate;
    while (due.length > 0 && (due[0] ?? 0) < minute + 1) {
      due.shift();
      came = true;
    }
    if (came && random.next() < follows) due.push(minute + 1 + random.exponential(within));
    return came;
  };
}

/** What was learned of one context counts like no more than so many minutes. */
const TRIALS_MAX = 60;
const CATEGORIES = 300;

let taught: HazardState | null = null;

/** The state of a model that has seen nothing else. Made once, in a fifth of a second. */
export function taughtHazard(): HazardState {
  taught ??= teach();
  return taught;
}

function teach(): HazardState {
  const model = new HazardModel();
  const lanes = madeUpDemand(CATEGORIES).map((comes) => ({ comes, track: null as Track | null }));
  for (let minute = 0; minute < MADE_UP_MINUTES; minute++)
    for (const lane of lanes) {
      const active = lane.comes(minute);
      if (lane.track) model.learn(lane.track, active);
      else if (active) lane.track = new Track(minute);
    }
  model.fade(TRIALS_MAX);
  return model.state();
}

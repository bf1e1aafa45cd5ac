/** Chance as a value that is passed in: one seed gives one run. */
import { randomBytes } from "node:crypto";

export type Random = {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform integer in [0, n). */
  int(n: number): number;
  /** One element, all equally likely. Asks for a non-empty list. */
  pick<T>(items: readonly T[]): T;
  /** Exponentially distributed with the given mean. */
  exponential(mean: number): number;
  /** Standard normal (Box–Muller). */
  normal(): number;
  /** An independent stream named by `label`; the parent is not advanced. */
  fork(label: string): Random;
};

/** xmur3: a 32-bit seed from text. */
function hashText(text: string): number {
  let h = 1779033703 ^ text.length;
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 3432918353);
    h = (h << 13) | (h >>> 19);
  }
  h = Math.imul(h ^ (h >>> 16), 2246822507);
  h = Math.imul(h ^ (h >>> 13), 3266489909);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A reproducible stream (mulberry32) for the seed, a number or any text. */
export function seededRandom(seed: number | string): Random {
  let state = hashText(String(seed));
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return fromNext(next, (label) => seededRandom(`${seed}/${label}`));
}

/** Chance from the operating system, for daemons. */
export function systemRandom(): Random {
  return fromNext(
    () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
    () => systemRandom(),
  );
}

function fromNext(next: () => number, fork: (label: string) => Random): Random {
  return {
    next,
    int: (n) => Math.floor(next() * n),
    pick: (items) => {
      const item = items[Math.floor(next() * items.length)];
      if (item === undefined) throw new RangeError("pick from an empty list");
      return item;
    },
    exponential: (mean) => -mean * Math.log(1 - next()),
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    fork,
  };
}

/** `bytes` unpredictable bytes as base64url text, for ids and secrets. */
export function secret(bytes: number): string {
  return randomBytes(bytes).toString("base64url");
}

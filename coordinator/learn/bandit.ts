import type { Random } from "../../shared/runtime/random.ts";

export type Arm = { threshold: number; lead: number };

/** Arm `START_ARM` changes nothing. */
export const ARMS: readonly Arm[] = [1, 2].flatMap((lead) =>
  [0.5, 0.7, 1, 1.4, 2].map((threshold) => ({ threshold, lead })),
);
export const START_ARM = 2;

export type BanditOptions = { ridge: number; exploration: number; forgetting: number };
export const DEFAULT_BANDIT: BanditOptions = { ridge: 1, exploration: 0.3, forgetting: 0.995 };

/** What `Bandit` is saved as: plain JSON. */
export type BanditState = { version: 1; shared: number[]; categories: Record<string, number[]> };

export class Bandit {
  constructor(_options: BanditOptions = DEFAULT_BANDIT, _state?: BanditState) {}

  /** Index into `ARMS`. */
  choose(_key: string, _context: readonly number[], _random: Random): number {
    return START_ARM;
  }

  /** Reward about −1..1: see reward.ts. */
  learn(_key: string, _context: readonly number[], _arm: number, _reward: number): void {}

  state(): BanditState {
    return { version: 1, shared: [], categories: {} };
  }
}

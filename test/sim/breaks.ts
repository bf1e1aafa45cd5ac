/**
 * Deliberate bugs, switched in at the simulator's seams: they prove that a run can find what it
 * looks for. Each names the invariant that has to catch it.
 */
import type { TransferEvent } from "../../agent/mesh/transfer/wants.ts";

export const BREAKS = {
  "skip-verify": ["no chunk kept unverified"],
  "partial-activation": ["activated whole or not at all"],
  "route-without-verdict": ["no route without a passing verdict"],
  "lease-overgrant": ["leases within the budget"],
  "double-count": ["no record counted twice"],
  "ack-before-commit": ["no acknowledged record lost"],
  "ignore-throttle": ["nothing staged while told to stop", "pre-staging yields within a second"],
  "overcommit-memory": ["memory within budget"],
  "lost-answers": ["no verified chunk fetched twice"],
  "forgotten-orders": ["every order moves or ends"],
  "untold-limit": ["every order moves or ends"],
  chance: ["same seed, same decisions"],
} as const;
export type BreakName = keyof typeof BREAKS;

export function isBreakName(name: string): name is BreakName {
  return name in BREAKS;
}

export class Breaks {
  readonly #name: BreakName | null;

  constructor(name: BreakName | null) {
    this.#name = name;
  }

  has(name: BreakName): boolean {
    return this.#name === name;
  }

  /** What the transfer core is told; null when the bug swallows it. */
  transferEvent(event: TransferEvent): TransferEvent | null {
    if (this.#name === "lost-answers" && event.type === "answer" && event.result === "ok")
      return event.unit % 4 === 0 ? null : event;
    if (this.#name === "forgotten-orders" && event.type === "want" && !event.want.foreground)
      return event.want.id.charCodeAt(0) % 4 === 0 ? null : event;
    return event;
  }
}

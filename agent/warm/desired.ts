/** What is wanted of this host's pool, as last heard, and what that means for one environment. */
import { categoryKey, type KeepEnvironment } from "../../shared/domain.ts";
import type { Workload } from "../../shared/workload.ts";
import { underWay } from "./environment.ts";
import { keepUntilMs } from "./policy.ts";
import { keepView, type Slot } from "./slot.ts";

export class Desired {
  readonly #graceMs: number;
  readonly #superseded: (workload: Workload, category: string) => boolean;
  #keep = new Map<string, KeepEnvironment>();
  /** Null until the first desired state: then every workload given is taken as declared. */
  #workloads: Map<string, Workload> | null = null;
  paused = false;
  connected = false;

  /** `superseded`: other versions of its artifacts are wanted and here than it was made from. */
  constructor({
    graceMs,
    superseded = () => false,
  }: {
    graceMs: number;
    superseded?: ((workload: Workload, category: string) => boolean) | undefined;
  }) {
    this.#graceMs = graceMs;
    this.#superseded = superseded;
  }

  set(keep: readonly KeepEnvironment[], workloads: readonly Workload[], paused: boolean): void {
    this.#keep = new Map(keep.map((one) => [categoryKey(one.workload, one.category), one]));
    this.#workloads = new Map(workloads.map((workload) => [workload.name, workload]));
    this.paused = paused;
    this.connected = true;
  }

  /** Orders of the plan by category key. */
  get orders(): ReadonlyMap<string, KeepEnvironment> {
    return this.#keep;
  }

  workload(name: string): Workload | undefined {
    return this.#workloads?.get(name);
  }

  /** Whether requests may have this workload's environments made. */
  declares(name: string): boolean {
    return this.#workloads?.has(name) ?? true;
  }

  /** The workload is gone, was declared differently, or a tag moved since this was made. */
  outdated(slot: Slot): boolean {
    if (!this.#workloads) return false;
    const now = this.#workloads.get(slot.workload.name);
    return !now || madeOf(now) !== madeOf(slot.workload) || this.#superseded(now, slot.category);
  }

  /** Being made for a plan that changed its mind, or is paused, and nobody waits. */
  givenUp(slot: Slot): boolean {
    const { state } = slot.environment;
    if (slot.origin !== "plan" || slot.waiters.size > 0) return false;
    return (underWay(state) || state === "absent") && (this.paused || slot.keep === null);
  }

  /** Until when it stays, demand clock; see `keepUntilMs`. */
  keepUntil(slot: Slot): number {
    const { connected } = this;
    const now = this.#workloads?.get(slot.workload.name) ?? slot.workload;
    const view = keepView(slot, !this.outdated(slot));
    return keepUntilMs(
      { ...view, mode: now.mode, keepAliveMs: now.keepAliveMs },
      { graceMs: this.#graceMs, connected },
    );
  }

  /** Whether one that just failed is worth another try. */
  wantsReplaced(slot: Slot, nowMs: number): boolean {
    if (this.outdated(slot)) return false;
    if (slot.waiters.size > 0) return true;
    if (slot.keep) return !this.paused;
    return slot.readyMs !== null && this.keepUntil(slot) > nowMs;
  }
}

const made = new WeakMap<Workload, string>();

/** What an environment was made of: when that changes, it is made anew. */
function madeOf(workload: Workload): string {
  const known = made.get(workload);
  if (known !== undefined) return known;
  const { artifacts, environment, shadow } = workload;
  const text = JSON.stringify([artifacts, environment, shadow]);
  made.set(workload, text);
  return text;
}

/**
 * Tells neighbours on the connections for chunks which units they may ask for here: the word has to
 * be there long before gossip would bring it. It goes at once, and where units come faster, one frame
 * tells some milliseconds' worth: every hop of a unit through the fleet waits for it. What cannot be
 * sent now waits; a host that went is forgotten, gossip tells it the rest.
 */
import type { Clock } from "../../../shared/runtime/clock.ts";
import type { Exchange } from "./exchange.ts";
import { UNITS_MAX } from "./frames.ts";

/** Raised: fewer frames, and units wait longer for others to ask for them. */
export const SPACING_MS = 10;
/** Nobody could be told anything: tried again after so long. */
const AGAIN_MS = 200;
/** More for one host is dropped: gossip tells all of it. */
const WAITING_MAX = 4 * UNITS_MAX;

export class Haves {
  readonly #clock: Clock;
  readonly #exchange: Pick<Exchange, "tell">;
  /** By host, by manifest. */
  readonly #waiting = new Map<string, Map<string, Set<number>>>();
  #wake = Promise.withResolvers<void>();

  constructor(deps: { clock: Clock; exchange: Pick<Exchange, "tell"> }) {
    this.#clock = deps.clock;
    this.#exchange = deps.exchange;
  }

  tell({ id, unit, hosts }: { id: string; unit: number; hosts: readonly string[] }): void {
    for (const host of hosts) {
      const waiting = this.#waiting.get(host) ?? new Map<string, Set<number>>();
      const units = waiting.get(id) ?? new Set();
      if (units.size < WAITING_MAX) units.add(unit);
      this.#waiting.set(host, waiting.set(id, units));
    }
    this.#wake.resolve();
  }

  forget(host: string): void {
    this.#waiting.delete(host);
  }

  async run(signal: AbortSignal): Promise<void> {
    const stop = () => this.#wake.resolve();
    signal.addEventListener("abort", stop, { once: true });
    let nextMs = 0;
    while (!signal.aborted) {
      if (this.#waiting.size === 0) await this.#wake.promise;
      this.#wake = Promise.withResolvers();
      const waitMs = nextMs - this.#clock.monotonic();
      if (waitMs > 0) await this.#clock.sleep(waitMs, { signal }).catch(() => null); // asked to stop
      nextMs = this.#clock.monotonic() + SPACING_MS;
      const before = this.#waiting.size;
      this.#send();
      if (before > 0 && this.#waiting.size === before)
        await this.#clock.sleep(AGAIN_MS, { signal }).catch(() => null); // asked to stop
    }
    signal.removeEventListener("abort", stop);
  }

  #send(): void {
    for (const [host, manifests] of this.#waiting) {
      for (const [manifest, all] of manifests) {
        const units = [...all].slice(0, UNITS_MAX);
        if (!this.#exchange.tell(host, { type: "have", manifest, units })) break;
        for (const unit of units) all.delete(unit);
        if (all.size === 0) manifests.delete(manifest);
      }
      if (manifests.size === 0) this.#waiting.delete(host);
    }
  }
}

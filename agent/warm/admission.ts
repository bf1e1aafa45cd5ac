/**
 * Lets cold environments start while memory and count last: waiting requests first, making room by
 * dropping idle environments when need be. What does not fit yet waits for the next change.
 */
import { PrestageError } from "../../shared/errors.ts";
import { holdsMemory } from "./environment.ts";
import { byUrgency, chooseReclaim, type Room } from "./policy.ts";
import { declaredBytes, isIdle, type Slot } from "./slot.ts";

export type AdmissionDeps = {
  all(): Iterable<Slot>;
  launch(slot: Slot): void;
  reclaim(slot: Slot): void;
  refuse(slot: Slot, cause: PrestageError): void;
};

export type AdmissionOptions = {
  memoryBytesMax: number;
  environmentsMax: number;
  plannedStartsMax: number;
};

export class Admission {
  readonly #deps: AdmissionDeps;
  readonly #options: AdmissionOptions;
  #running = false;
  #again = false;

  constructor(deps: AdmissionDeps, options: AdmissionOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  used(): Room {
    let memoryBytes = 0;
    let environments = 0;
    for (const slot of this.#deps.all()) {
      if (!holdsMemory(slot.environment.state)) continue;
      memoryBytes += declaredBytes(slot);
      environments++;
    }
    return { memoryBytes, environments };
  }

  /** Starts what can start. Changes it causes itself are looked at in the same call. */
  run(): void {
    this.#again = true;
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#again) {
        this.#again = false;
        this.#pass();
      }
    } finally {
      this.#running = false;
    }
  }

  #pass(): void {
    const { memoryBytesMax, environmentsMax, plannedStartsMax } = this.#options;
    const cold = [...this.#deps.all()]
      .filter((slot) => slot.environment.state === "cold")
      .map((slot) => ({
        slot,
        id: slot.environment.id,
        foreground: slot.waiters.size > 0 || slot.origin === "request",
        priority: slot.keep?.priority ?? 0,
        deadlineMs: slot.keep?.deadlineMs ?? Number.POSITIVE_INFINITY,
        order: slot.order,
      }))
      .sort(byUrgency);
    for (const { slot, foreground } of cold) {
      const bytes = declaredBytes(slot);
      if (bytes > memoryBytesMax || environmentsMax < 1) {
        const message = `needs ${bytes} bytes of memory, the host gives ${memoryBytesMax}`;
        this.#deps.refuse(slot, new PrestageError("UNAVAILABLE", message));
        continue;
      }
      if (!foreground && this.#plannedStarts() >= plannedStartsMax) return;
      const used = this.used();
      const need = {
        memoryBytes: used.memoryBytes + bytes - memoryBytesMax,
        environments: used.environments + 1 - environmentsMax,
      };
      if (need.memoryBytes <= 0 && need.environments <= 0) {
        this.#deps.launch(slot);
        continue;
      }
      this.#makeRoom(need, foreground ? "request" : "plan");
      // Nobody behind may take the room this one waits for.
      return;
    }
  }

  #plannedStarts(): number {
    let starting = 0;
    for (const { environment, origin, waiters } of this.#deps.all())
      if (environment.state === "warming" && origin === "plan" && waiters.size === 0) starting++;
    return starting;
  }

  /** Drops idle ones for what is missing beyond what is on its way out already. */
  #makeRoom(need: Room, by: "request" | "plan"): void {
    let { memoryBytes, environments } = need;
    const idle = new Map<string, Slot>();
    for (const slot of this.#deps.all()) {
      if (slot.environment.state === "draining") {
        memoryBytes -= declaredBytes(slot);
        environments--;
      }
      if (isIdle(slot)) idle.set(slot.environment.id, slot);
    }
    if (memoryBytes <= 0 && environments <= 0) return;
    const candidates = [...idle.values()].map((slot) => ({
      id: slot.environment.id,
      memoryBytes: declaredBytes(slot),
      planned: slot.keep !== null,
      priority: slot.keep?.priority ?? 0,
      idleSinceMs: slot.environment.lastUsedMs ?? slot.environment.sinceMs,
    }));
    const chosen = chooseReclaim(candidates, { memoryBytes, environments }, by);
    for (const id of chosen ?? []) {
      const slot = idle.get(id);
      if (slot) this.#deps.reclaim(slot);
    }
  }
}

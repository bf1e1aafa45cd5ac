/** Watches one agent's orders: those with nothing in their way have to move, then end. */
import type { Session } from "../../agent/link/session.ts";
import type { WarmPool } from "../../agent/warm/pool.ts";
import { categoryKey, type HostId } from "../../shared/domain.ts";
import type { DesiredState } from "../../shared/protocol/bodies.ts";
import type { SimMesh } from "./mesh.ts";
import type { Run } from "./run.ts";

type Watched = {
  bytesHave: number;
  /** Time in which it could have moved and did not; each order's time runs once per look. */
  freeMs: number;
  priority: number;
};

/** `needs`: manifest hashes. */
type Wanted = { priority: number; needs: ReadonlySet<string> };

export class OrderWatch {
  readonly #run: Run;
  readonly #host: HostId;
  readonly #orders = new Map<string, Watched>();
  readonly #starved = new Map<number, number>();
  #wanted = new Map<string, Wanted>();
  #stagedBytes = 0;
  #atMs = 0;

  constructor(run: Run, host: HostId) {
    this.#run = run;
    this.#host = host;
  }

  clear(): void {
    this.#orders.clear();
    this.#starved.clear();
    this.#wanted.clear();
    this.#stagedBytes = 0;
  }

  /** Several of one order are one: what it holds and what its environment is made of. */
  desired({ hold, environments }: DesiredState): void {
    const needs = new Map<string, Set<string>>();
    const add = (id: string, hashes: readonly string[]) =>
      needs.set(id, new Set([...(needs.get(id) ?? []), ...hashes]));
    for (const one of hold) add(one.orderId, [one.manifestHash]);
    for (const one of environments) {
      const made = this.#run.world.byKey.get(categoryKey(one.workload, one.category))?.needs ?? [];
      add(
        one.orderId,
        made.map((artifact) => artifact.manifestHash),
      );
    }
    this.#wanted = new Map(
      [...hold, ...environments].map(({ orderId, priority }) => [
        orderId,
        { priority, needs: needs.get(orderId) ?? new Set() },
      ]),
    );
    for (const id of this.#orders.keys()) if (!this.#wanted.has(id)) this.#orders.delete(id);
  }

  /** With each report: time counts only while the order could have moved. */
  look(mesh: SimMesh, pool: WarmPool, session: Session, cpuUsed: number, nowMs: number): void {
    const passedMs = Math.min(10_000, nowMs - this.#atMs);
    this.#atMs = nowMs;
    const book = this.#run.checker.book(this.#host);
    const free =
      book.rate > 0 && cpuUsed < 0.9 && session.phase === "open" && this.#run.isCalm(this.#host);
    const states = Map.groupBy([...mesh.orderStates(), ...pool.orderStates()], (s) => s.orderId);
    const held = new Map(mesh.holdings().map((one) => [one.manifestHash, one.bytesHave]));
    const moved = new Map<number, boolean>();
    for (const [id, parts] of states) {
      const wanted = this.#wanted.get(id);
      if (!wanted) continue;
      const { priority, needs } = wanted;
      const ended =
        parts.every((p) => p.state === "done") || parts.some((p) => p.state === "failed");
      if (ended) {
        this.#orders.delete(id);
        continue;
      }
      const bytesHave = [...needs].reduce((sum, hash) => sum + (held.get(hash) ?? 0), 0);
      const watched = this.#orders.get(id);
      if (!watched) {
        this.#orders.set(id, { bytesHave, freeMs: 0, priority });
        moved.set(priority, moved.get(priority) ?? false);
        continue;
      }
      const progress = bytesHave > watched.bytesHave;
      moved.set(priority, (moved.get(priority) ?? false) || progress);
      watched.freeMs = progress ? 0 : watched.freeMs + (free ? passedMs : 0);
      watched.bytesHave = bytesHave;
    }
    this.#classes(moved, free ? passedMs : 0);
    const movedBytes = mesh.backgroundBytes - this.#stagedBytes;
    this.#stagedBytes = mesh.backgroundBytes;
    const rate = Math.max(1, book.rate);
    this.#stuck(movedBytes > 0 ? Math.max(passedMs, (movedBytes / rate) * 1000) : 0);
  }

  /**
   * An order behind another that moves is waiting its turn; one alone has to move. What moved took
   * the budget for `spentMs`: at a low rate one chunk takes it for longer than a look.
   */
  #stuck(spentMs: number): void {
    for (const [id, watched] of this.#orders) {
      watched.freeMs = Math.max(0, watched.freeMs - spentMs);
      this.#run.checker.orderWaits(this.#host, id, watched.freeMs);
    }
  }

  #classes(moved: ReadonlyMap<number, boolean>, passedMs: number): void {
    for (const [priority, progress] of moved) {
      const lowerMoved = [...moved].some(([other, went]) => other < priority && went);
      const starved = progress ? 0 : (this.#starved.get(priority) ?? 0);
      this.#starved.set(priority, starved + (lowerMoved && !progress ? passedMs : 0));
      this.#run.checker.classServed(
        this.#host,
        this.#starved.get(priority) ?? 0,
        `priority ${priority}`,
      );
    }
  }
}

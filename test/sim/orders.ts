/** Watches one agent's orders: those with nothing in their way have to move, then end. */
import type { Session } from "../../agent/link/session.ts";
import type { WarmPool } from "../../agent/warm/pool.ts";
import type { HostId } from "../../shared/domain.ts";
import type { DesiredState } from "../../shared/protocol/bodies.ts";
import type { SimMesh } from "./mesh.ts";
import type { Run } from "./run.ts";

type Watched = { bytesDone: number; freeMs: number; priority: number };

export class OrderWatch {
  readonly #run: Run;
  readonly #host: HostId;
  readonly #orders = new Map<string, Watched>();
  readonly #starved = new Map<number, number>();
  #priorities = new Map<string, number>();
  #atMs = 0;

  constructor(run: Run, host: HostId) {
    this.#run = run;
    this.#host = host;
  }

  clear(): void {
    this.#orders.clear();
    this.#starved.clear();
    this.#priorities.clear();
  }

  desired({ hold, environments }: DesiredState, nowMs: number): void {
    this.#atMs = nowMs;
    this.#priorities = new Map(
      [...hold, ...environments].map((one) => [one.orderId, one.priority]),
    );
    for (const id of this.#orders.keys()) if (!this.#priorities.has(id)) this.#orders.delete(id);
  }

  /** With each report: time counts only while the order could have moved. */
  look(mesh: SimMesh, pool: WarmPool, session: Session, cpuUsed: number, nowMs: number): void {
    const passedMs = Math.min(10_000, nowMs - this.#atMs);
    this.#atMs = nowMs;
    const { book } = { book: this.#run.checker.book(this.#host) };
    const free =
      book.rate > 0 && cpuUsed < 0.9 && session.phase === "open" && this.#run.isCalm(this.#host);
    const moved = new Map<number, boolean>();
    let movedBytes = 0;
    for (const state of [...mesh.orderStates(), ...pool.orderStates()]) {
      const priority = this.#priorities.get(state.orderId);
      if (priority === undefined) continue;
      if (state.state !== "pending") {
        this.#orders.delete(state.orderId);
        continue;
      }
      const watched = this.#orders.get(state.orderId) ?? {
        bytesDone: state.bytesDone,
        freeMs: 0,
        priority,
      };
      this.#orders.set(state.orderId, watched);
      const progress = state.bytesDone > watched.bytesDone;
      movedBytes += Math.max(0, state.bytesDone - watched.bytesDone);
      moved.set(priority, (moved.get(priority) ?? false) || progress);
      watched.freeMs = progress ? 0 : watched.freeMs + (free ? passedMs : 0);
      watched.bytesDone = state.bytesDone;
    }
    this.#classes(moved, free ? passedMs : 0);
    this.#stuck(movedBytes > 0 ? Math.max(passedMs, (movedBytes / book.rate) * 1000) : 0);
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

/** Hands values to handlers one after the other, and only the newest of those that wait. */
import type { TaskGroup } from "../../shared/runtime/tasks.ts";

type Handler<T> = (value: T) => void | Promise<void>;

export class Latest<T> {
  readonly #outcome: { took: (value: T) => void; failed: (cause: unknown) => void };
  readonly #handlers: Handler<T>[] = [];
  #next: { value: T } | undefined;
  #running = false;

  /** `took` when every handler has returned; `failed` when one threw. */
  constructor(outcome: { took: (value: T) => void; failed: (cause: unknown) => void }) {
    this.#outcome = outcome;
  }

  add(handler: Handler<T>): void {
    this.#handlers.push(handler);
  }

  offer(value: T, group: TaskGroup): void {
    this.#next = { value };
    if (this.#running) return;
    this.#running = true;
    group.start("pushed state", async () => {
      for (let next = this.#next; next; next = this.#next) {
        this.#next = undefined;
        await this.#handle(next.value);
      }
      this.#running = false;
    });
  }

  async #handle(value: T): Promise<void> {
    try {
      for (const handler of this.#handlers) await handler(value);
    } catch (cause) {
      this.#outcome.failed(cause);
      return;
    }
    this.#outcome.took(value);
  }
}

/**
 * A task group owns promises: the first failure aborts the others and is what `done` throws.
 * No promise of a daemon runs outside a group.
 */
export class TaskGroup {
  readonly #controller = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #unlink: () => void;
  #failure: { cause: unknown } | undefined;

  constructor(signal?: AbortSignal) {
    const abort = () => this.#controller.abort(signal?.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    this.#unlink = () => signal?.removeEventListener("abort", abort);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** How many tasks have not ended. */
  get size(): number {
    return this.#running.size;
  }

  /** Starts a task. A rejection that is not the asked-for abort stops the group. */
  start(name: string, task: (signal: AbortSignal) => void | Promise<void>): void {
    const promise: Promise<void> = (async () => task(this.signal))()
      .catch((cause: unknown) => {
        if (this.signal.aborted && !this.#failure) return;
        this.#failure ??= { cause: new Error(`task ${name} failed`, { cause }) };
        this.#controller.abort(cause);
      })
      .finally(() => {
        this.#running.delete(promise);
      });
    this.#running.add(promise);
  }

  stop(reason?: unknown): void {
    this.#controller.abort(reason ?? new Error("stopped"));
  }

  /** Resolves when every task has ended; throws the first failure. */
  async done(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    this.#unlink();
    if (this.#failure) throw this.#failure.cause;
  }
}

/** Processes of one simulated host: they start slowly, sometimes fail, and die by chance. */
import type { Driver, Exit, LaunchSpec, Running } from "../../agent/warm/driver.ts";
import type { Verdict } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Run } from "./run.ts";
import type { SimHostSpec } from "./world.ts";

const START_FAILS = 0.03;
const SHADOW_FAILS = 0.04;
const LIFETIME_MS_MEAN = 1_200_000;

type Process = { key: string; bytes: number; proven: boolean; die(exit: Exit): void };

export class SimDriver implements Driver {
  readonly #run: Run;
  readonly #spec: SimHostSpec;
  readonly #alive: () => boolean;
  readonly #processes = new Map<number, Process>();
  #port = 1;

  constructor(run: Run, spec: SimHostSpec, alive: () => boolean) {
    this.#run = run;
    this.#spec = spec;
    this.#alive = alive;
  }

  get size(): number {
    return this.#processes.size;
  }

  recover(): Promise<number> {
    return Promise.resolve(0);
  }

  async launch(
    { workload, category }: LaunchSpec,
    options: { signal: AbortSignal },
  ): Promise<Running> {
    const { queue, random, checker } = this.#run;
    const bytes = workload.environment.resources.memoryMb << 20;
    const key = `${workload.name}/${category}`;
    const port = this.#port++;
    const startMs = 300 + random.exponential(700);
    const fails = random.next() < START_FAILS;
    const { promise: exited, resolve } = Promise.withResolvers<Exit>();
    checker.processStarted(this.#spec.id, bytes);
    const end = (exit: Exit) => {
      if (!this.#processes.delete(port)) return;
      checker.processEnded(this.#spec.id, bytes);
      queue.settleNext();
      resolve(exit);
    };
    this.#processes.set(port, { key, bytes, proven: false, die: end });
    const abort = () => end({ code: null, signal: "SIGTERM" });
    options.signal.addEventListener("abort", abort, { once: true });
    await this.#sleep(startMs);
    options.signal.removeEventListener("abort", abort);
    options.signal.throwIfAborted();
    if (fails || !this.#processes.has(port)) {
      end({ code: 1, signal: null });
      throw new PrestageError("ENVIRONMENT_FAILED", "it ended before it was ready");
    }
    queue.in(random.exponential(LIFETIME_MS_MEAN), () => {
      if (!this.#alive() || !this.#processes.has(port)) return;
      this.#run.note(`${this.#spec.id} process of ${key} dies`);
      end({ code: null, signal: "SIGKILL" });
    });
    return {
      port,
      exited,
      outputTail: () => "",
      stop: async () => {
        await this.#sleep(20 + random.exponential(80));
        end({ code: 0, signal: null });
      },
    };
  }

  async shadow(port: number): Promise<Verdict> {
    const { queue, random } = this.#run;
    const latencyMs = 5 + random.exponential(20);
    await this.#sleep(latencyMs);
    const process = this.#processes.get(port);
    const passed = process !== undefined && random.next() >= SHADOW_FAILS;
    if (process) process.proven = passed;
    const detail = passed ? "" : "status 500, expected 200";
    return { passed, atMs: queue.now(), latencyMs, detail };
  }

  /** Whether the process behind the port lives and its latest shadow request passed. */
  state(port: number): "proven" | "unproven" | "dead" {
    const process = this.#processes.get(port);
    return process === undefined ? "dead" : process.proven ? "proven" : "unproven";
  }

  /** Whether a live process of the category has passed its latest shadow request. */
  provenFor(key: string): boolean {
    for (const process of this.#processes.values())
      if (process.key === key && process.proven) return true;
    return false;
  }

  /** The host lost its power: nobody hears of it. */
  powerOff(): void {
    for (const { bytes } of this.#processes.values())
      this.#run.checker.processEnded(this.#spec.id, bytes);
    this.#processes.clear();
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#run.queue.in(ms, () => {
        if (!this.#alive()) return;
        this.#run.queue.settleNext();
        resolve();
      });
    });
  }
}

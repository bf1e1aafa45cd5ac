/** A warm pool on a simulated clock and driver, with staging and verdicts a test can turn. */
import { WarmPool } from "../../agent/warm/pool.ts";
import type { WarmPoolOptions } from "../../agent/warm/pool-options.ts";
import type { KeepEnvironment } from "../../shared/domain.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { SimulatedClock } from "./clock.ts";
import { SimulatedDriver } from "./simulated-driver.ts";

const MB = 2 ** 20;

export class PoolHarness {
  readonly clock = new SimulatedClock(1_000_000);
  readonly driver = new SimulatedDriver(this.clock);
  readonly staged: { workload: string; category: string; foreground: boolean; aborted: boolean }[] =
    [];
  readonly probes: string[] = [];
  stageMs = 50;
  stageError: Error | null = null;
  /** Whether the next shadow request passes. */
  healthy: (port: number) => boolean = () => true;
  readonly pool: WarmPool;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: Partial<WarmPoolOptions> = {}, seed = 1) {
    this.pool = new WarmPool(
      {
        self: "h1",
        clock: this.clock,
        demandClock: this.clock,
        random: seededRandom(seed),
        log: silentLog,
        metrics: new Metrics(),
        driver: this.driver,
        stage: async (workload, category, { foreground, signal }) => {
          const row = { workload: workload.name, category, foreground, aborted: false };
          this.staged.push(row);
          signal.addEventListener("abort", () => {
            row.aborted = true;
          });
          await this.clock.sleep(this.stageMs, { signal });
          if (this.stageError) throw this.stageError;
          return { app: `/trees/${workload.name}` };
        },
        warmup: async (port) => {
          this.probes.push(`warmup ${port}`);
          await this.clock.sleep(5);
        },
        shadow: async (port) => {
          this.probes.push(`shadow ${port}`);
          await this.clock.sleep(5);
          const passed = this.healthy(port);
          const detail = passed ? "" : "status 500, expected 200";
          return { passed, atMs: this.clock.now(), latencyMs: 5, detail };
        },
      },
      { memoryBytesMax: 1024 * MB, environmentsMax: 8, ...options },
    );
    this.#running = this.pool.run(this.#stop.signal);
  }

  keep(workload: string, category: string, more: Partial<KeepEnvironment> = {}): KeepEnvironment {
    return {
      orderId: `order-${workload}-${category}`,
      workload,
      category,
      priority: 100,
      deadlineMs: this.clock.now(),
      ...more,
    };
  }

  states(): string[] {
    return this.pool.list().map((one) => one.state);
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error("test is over"));
    await this.clock.advance(120_000);
    await this.#running;
  }
}

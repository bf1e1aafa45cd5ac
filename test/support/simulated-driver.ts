/** A driver whose processes are numbers: launches take simulated time and fail when told to. */
import type { Driver, Exit, LaunchSpec, Running } from "../../agent/warm/driver.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";

export type SimulatedProcess = {
  spec: LaunchSpec;
  port: number;
  alive: boolean;
  /** The process ends by itself. */
  crash(): void;
};

export class SimulatedDriver implements Driver {
  readonly #clock: Clock;
  launchMs = 100;
  stopMs = 10;
  /** Looked at at each launch. */
  failLaunch: (spec: LaunchSpec) => boolean = () => false;
  readonly processes: SimulatedProcess[] = [];
  /** Called when a stop was asked for, before the process is gone. */
  onStop: (process: SimulatedProcess) => void = () => {};
  #port = 10_000;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get alive(): SimulatedProcess[] {
    return this.processes.filter((process) => process.alive);
  }

  recover(): Promise<number> {
    return Promise.resolve(0);
  }

  async launch(spec: LaunchSpec, { signal }: { signal: AbortSignal }): Promise<Running> {
    const exited = Promise.withResolvers<Exit>();
    const process: SimulatedProcess = {
      spec,
      port: this.#port++,
      alive: true,
      crash: () => end({ code: 1, signal: null }),
    };
    const end = (exit: Exit) => {
      process.alive = false;
      exited.resolve(exit);
    };
    this.processes.push(process);
    try {
      await this.#clock.sleep(this.launchMs, { signal });
    } catch (cause) {
      process.alive = false;
      throw cause;
    }
    if (this.failLaunch(spec)) {
      process.alive = false;
      throw new PrestageError("ENVIRONMENT_FAILED", "the process ended before it was ready");
    }
    return {
      port: process.port,
      exited: exited.promise,
      outputTail: () => "",
      stop: async () => {
        if (!process.alive) return;
        this.onStop(process);
        await this.#clock.sleep(this.stopMs);
        end({ code: 0, signal: null });
      },
    };
  }
}

/**
 * The host as the planner sees it, sampled cheaply and without starting a process: memory from
 * systeminformation, the load of all cores from Node (systeminformation's runs `cat` and blocks),
 * disk from statfs, the event loop's delay from Node's own histogram. The only importer of
 * systeminformation.
 */
import { statfs } from "node:fs/promises";
import { cpus } from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { mem } from "systeminformation";
import type { HostSample } from "../../shared/domain.ts";
import { type Clock, every } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Gauge, Metrics } from "../../shared/runtime/metrics.ts";

/** Each is a wake-up of an idle process; a stall longer than this is always seen. */
const LOOP_RESOLUTION_MS = 100;
type LoopDelay = ReturnType<typeof monitorEventLoopDelay>;

export type HostSamplerDeps = {
  clock: Clock;
  demandClock: Clock;
  log: Log;
  metrics: Metrics;
  /** Requests ever entered or served here. */
  requests(): number;
  rates(): { peerBytesPerSecond: number; originBytesPerSecond: number };
  /** Resident memory of this process. */
  agentBytes(): number;
};

export type HostSamplerOptions = {
  /** Whose file system counts as the host's disk. */
  dataDir: string;
  /** Real time between samples; lower notices a peak sooner and costs more. Default 2 s. */
  periodMs?: number;
};

export class HostSampler {
  readonly #deps: HostSamplerDeps;
  readonly #dataDir: string;
  readonly #periodMs: number;
  readonly #cpu: Gauge;
  readonly #loopDelay: Gauge;
  readonly #listeners = new Set<(sample: HostSample) => void>();
  #latest: HostSample;
  #requests = 0;
  #atMs = 0;
  #cores = { busyMs: 0, allMs: 0 };

  constructor(deps: HostSamplerDeps, { dataDir, periodMs = 2000 }: HostSamplerOptions) {
    this.#deps = deps;
    this.#dataDir = dataDir;
    this.#periodMs = periodMs;
    this.#latest = {
      atMs: 0,
      cpuUsed: 0,
      memoryBytes: 0,
      memoryFreeBytes: 0,
      diskFreeBytes: 0,
      requestsPerSecond: 0,
      peerBytesPerSecond: 0,
      originBytesPerSecond: 0,
      loopDelayMs: 0,
      agentBytes: 0,
    };
    this.#cpu = deps.metrics.gauge({
      name: "prestage_host_cpu_ratio",
      help: "Share of all cores in use",
    });
    this.#loopDelay = deps.metrics.gauge({
      name: "prestage_agent_loop_delay_seconds",
      help: "Delay of the agent's event loop, 99th percentile of the last period",
    });
  }

  /** The last sample; zeros with `atMs` 0 before the first. */
  latest(): HostSample {
    return this.#latest;
  }

  /** Called with each new sample. The returned function ends it. */
  onSample(fn: (sample: HostSample) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  async run(signal: AbortSignal): Promise<void> {
    const loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
    loop.enable();
    this.#requests = this.#deps.requests();
    this.#atMs = this.#deps.demandClock.now();
    this.#cores = coreTimes();
    try {
      await every(this.#deps.clock, this.#periodMs, signal, () => this.#sample(loop));
    } finally {
      loop.disable();
    }
  }

  async #sample(loop: LoopDelay): Promise<void> {
    try {
      this.#latest = await this.#read(loop);
    } catch (cause) {
      this.#deps.log.warn({ err: cause }, "could not sample the host");
      return;
    }
    this.#cpu.set(this.#latest.cpuUsed);
    this.#loopDelay.set(this.#latest.loopDelayMs / 1000);
    for (const listener of this.#listeners) listener(this.#latest);
  }

  async #read(loop: LoopDelay): Promise<HostSample> {
    const { demandClock, requests, rates, agentBytes } = this.#deps;
    const [memory, disk] = await Promise.all([mem(), statfs(this.#dataDir)]);
    const atMs = demandClock.now();
    const total = requests();
    const perSecond = rate(total - this.#requests, atMs - this.#atMs);
    this.#requests = total;
    this.#atMs = atMs;
    const delayMs = loop.percentile(99) / 1e6 - LOOP_RESOLUTION_MS;
    loop.reset();
    return {
      atMs,
      cpuUsed: this.#cpuUsed(),
      memoryBytes: Math.round(memory.total),
      memoryFreeBytes: Math.round(memory.available),
      diskFreeBytes: Math.round(disk.bavail * disk.bsize),
      requestsPerSecond: perSecond,
      ...rates(),
      loopDelayMs: Number.isFinite(delayMs) ? Math.max(0, delayMs) : 0,
      agentBytes: Math.round(agentBytes()),
    };
  }

  /** Share of all cores in use since the last call; as before when no time was counted. */
  #cpuUsed(): number {
    const now = coreTimes();
    const { busyMs, allMs } = this.#cores;
    this.#cores = now;
    const durationMs = now.allMs - allMs;
    if (durationMs <= 0) return this.#latest.cpuUsed;
    return Math.min(1, Math.max(0, (now.busyMs - busyMs) / durationMs));
  }
}

/** Time all cores together spent since the system's start. */
function coreTimes(): { busyMs: number; allMs: number } {
  const sum = { busyMs: 0, allMs: 0 };
  for (const { times } of cpus()) {
    const busyMs = times.user + times.nice + times.sys + times.irq;
    sum.busyMs += busyMs;
    sum.allMs += busyMs + times.idle;
  }
  return sum;
}

function rate(count: number, durationMs: number): number {
  return durationMs > 0 ? Math.max(0, (count * 1000) / durationMs) : 0;
}

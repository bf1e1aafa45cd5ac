/** One run of the demo: a fresh fleet with empty disks, the history, the requests, the figures. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { request } from "undici";
import type { Enroll } from "../../agent/cli/join.ts";
import { importRows } from "../../coordinator/cli/upload.ts";
import type { Applied, HistoryRow } from "../../shared/api.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { ReplaySettings } from "../../shared/replay.ts";
import { type Clock, every } from "../../shared/runtime/clock.ts";
import type { Progress } from "../../shared/runtime/progress.ts";
import { TaskGroup } from "../../shared/runtime/tasks.ts";
import { artifactsOf, totalBytes } from "./artifacts.ts";
import type { Children } from "./children.ts";
import { type DemoMode, declare } from "./declare.ts";
import { Fleet } from "./fleet.ts";
import type { DemoInput, DemoSettings } from "./input.ts";
import { figures, type RunFigures, type Served, type Totals } from "./measure.ts";
import { type OriginStats, STATS_PATH } from "./origin/server.ts";
import { play } from "./play.ts";
import type { Calibration } from "./report.ts";

export type RunDeps = {
  clock: Clock;
  children: Children;
  nodePath: string;
  enroll: Enroll;
  say: (line: string) => void;
  progress: (label: string) => Progress;
};

export type RunOptions = {
  settings: DemoSettings;
  input: DemoInput;
  folder: string;
  origin: { root: string; url: string };
  uplinkBytesPerSecond: number;
  diskBytesPerHost: number;
  memoryBytesPerHost: number;
};

/** The demand clock starts with the processes, so the time they need to start is set beforehand. */
const START_MS = 4_000;
const START_MS_PER_HOST = 1_000;
const PUBLISH_BYTES_PER_MS = 80e3;
/** What the next start gets, of what the last one needed. */
const NEXT_START = 1.4;
/** …and at least this much more. */
const NEXT_START_MORE_MS = 4_000;
/** A machine that was too slow for the first estimate is measured by then. */
const TRIES = 3;
/** Part of the uplink that an operator gives to pre-staging; requests have the rest. */
const STAGING_SHARE = 0.6;
const SEEN_WITHIN_MS = 200;
/** Workloads are declared this long before the first request. */
const DECLARE_AHEAD_MS = 500;

export class DemoRun {
  readonly #deps: RunDeps;
  readonly #options: RunOptions;
  #count = 0;
  /** Real time that the processes of the last run needed until they were ready. */
  #neededMs: number | null = null;

  constructor(deps: RunDeps, options: RunOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  async play(
    name: string,
    mode: DemoMode,
    signal: AbortSignal,
  ): Promise<{ figures: RunFigures; calibration: Calibration }> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const played = await this.#try(name, mode, signal);
      if (played) return played;
      const seconds = Math.round((this.#neededMs ?? 0) / 1_000);
      this.#deps.say(`${name}: ready only after ${seconds} s, starting again with more patience`);
    }
    throw new PrestageError("TIMEOUT", "the demo's processes take too long to start here");
  }

  /** Null when the fleet was not ready at the time the requests have to begin. */
  async #try(name: string, mode: DemoMode, signal: AbortSignal) {
    const { clock, say } = this.#deps;
    const { settings, input, origin } = this.#options;
    const startedMs = clock.now();
    const beginMs = startedMs + this.#startMs();
    const replay: ReplaySettings = {
      speed: settings.speed,
      startMs: beginMs,
      epochMs: input.selection.window.runInMs,
    };
    const dir = join(this.#options.folder, `fleet-${++this.#count}`);
    const fleet = new Fleet(this.#deps, {
      ...this.#options,
      dir,
      hosts: settings.hosts,
      replay,
      stagingBytesPerSecond: STAGING_SHARE * this.#options.uplinkBytesPerSecond,
    });
    say(`${name}: starting a coordinator and ${settings.hosts} agents`);
    try {
      const routers = await fleet.start(signal);
      await fleet.publish(artifactsOf(input.workloads), origin, { signal, progress: () => {} });
      await importRows(fleet.api(signal), `demo-${settings.seed}`, each(input.history));
      this.#neededMs = clock.now() - startedMs;
      const leftMs = beginMs - clock.now();
      if (leftMs < DECLARE_AHEAD_MS) return null;
      await clock.sleep(leftMs - DECLARE_AHEAD_MS, { signal });
      await fleet
        .api(signal)
        .post<Applied>(
          "workloads",
          declare(input.workloads, { mode, nodePath: this.#deps.nodePath }),
        );
      const { requests } = input.schedule;
      say(`${name}: playing ${requests.length} requests, fleet: --context ${fleet.contextFile}`);
      return await this.#measure(name, fleet, routers, replay, signal);
    } catch (cause) {
      // Why it failed is in the log of the process that ended, if one did: let its end be seen.
      await clock.sleep(SEEN_WITHIN_MS);
      if (!signal.aborted) fleet.check();
      throw cause;
    } finally {
      await fleet.stop();
      if (!settings.keep) await rm(dir, { recursive: true, force: true, maxRetries: 5 });
    }
  }

  #startMs(): number {
    if (this.#neededMs !== null) {
      const longerMs = Math.max((NEXT_START - 1) * this.#neededMs, NEXT_START_MORE_MS);
      return this.#neededMs + longerMs + DECLARE_AHEAD_MS;
    }
    const { settings, input } = this.#options;
    const publishMs = totalBytes(input.workloads) / PUBLISH_BYTES_PER_MS;
    return START_MS + START_MS_PER_HOST * settings.hosts + publishMs;
  }

  async #measure(
    name: string,
    fleet: Fleet,
    routers: string[],
    { speed, startMs, epochMs }: ReplaySettings,
    signal: AbortSignal,
  ) {
    const { clock, progress } = this.#deps;
    const { window } = this.#options.input.selection;
    const realMs = (demandMs: number) => startMs + (demandMs - epochMs) / speed;
    const at = async (demandMs: number, until: AbortSignal) => {
      await clock.sleep(realMs(demandMs) - clock.now(), { signal: until });
      return this.#totals(fleet, until);
    };
    const live = new LiveCounts();
    const bar = progress(`${name}`);
    const group = new TaskGroup(signal);
    const watching = new AbortController();
    let before: Totals | undefined;
    let after: Totals | undefined;
    let served: Served[] = [];
    group.start("watch", (until) =>
      every(clock, 250, AbortSignal.any([until, watching.signal]), () => {
        fleet.check();
        bar.update(clock.now() - startMs, realMs(window.endMs) - startMs, live.text());
      }),
    );
    group.start("play", async (until) => {
      const requests = this.#options.input.schedule.requests;
      [before, served, after] = await Promise.all([
        at(window.playMs, until),
        play(
          requests,
          { clock, realMs, routers, onServed: (one) => live.add(one) },
          { signal: until },
        ),
        at(window.endMs, until),
      ]);
      watching.abort();
    });
    await group.done().finally(() => bar.end());
    signal.throwIfAborted();
    if (!before || !after) throw new PrestageError("UNAVAILABLE", "the run was not measured");
    const { calibration } = await fleet.status(signal);
    await this.#keepRequests(name, served);
    return { figures: figures(served, before, after), calibration };
  }

  /** Every request with what became of it, for who keeps the folder to look. */
  async #keepRequests(name: string, served: readonly Served[]): Promise<void> {
    const { settings, input, folder } = this.#options;
    if (!settings.keep) return;
    const lines = served.map(({ measured, outcome, status, firstByteMs }, i) => {
      const planned = input.schedule.requests[i];
      const { atMs, workload, category, entry } = planned ?? {};
      return [atMs, workload, category, entry, measured, outcome, status, firstByteMs.toFixed(1)];
    });
    const head = "atMs,workload,category,entry,measured,outcome,status,firstByteMs";
    const file = join(folder, `requests ${name}.csv`);
    await writeFile(file, `${[head, ...lines.map((line) => line.join(","))].join("\n")}\n`);
  }

  async #totals(fleet: Fleet, signal: AbortSignal): Promise<Totals> {
    const { url } = this.#options.origin;
    const [status, origin] = await Promise.all([
      fleet.status(signal),
      request(`${url}${STATS_PATH}`, { signal }).then((answer) => answer.body.json()),
    ]);
    return {
      originBytes: (origin as OriginStats).bytes,
      peerBytes: status.bytes.peer,
      wastedBytes: status.bytes.wasted,
      memoryByteMs: status.memoryByteMs,
    };
  }
}

/** For the progress line. */
class LiveCounts {
  #requests = 0;
  #cold = 0;
  #failed = 0;

  add({ outcome }: Served): void {
    this.#requests++;
    if (outcome === "failed") this.#failed++;
    else if (outcome !== "hit") this.#cold++;
  }

  text(): string {
    const failed = this.#failed > 0 ? `, ${this.#failed} failed` : "";
    return `${this.#requests} requests, ${this.#cold} cold${failed}`;
  }
}

async function* each(rows: readonly HistoryRow[]): AsyncGenerator<HistoryRow> {
  yield* rows;
}

/**
 * `prestage demo`: the same requests twice on real processes, first as a reactive system answers
 * them, then with Prestage, and the difference. Everything lies in one temporary folder and ends
 * with the demo.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Enroll } from "../../agent/cli/join.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Progress } from "../../shared/runtime/progress.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { artifactsOf, totalBytes, writeArtifacts } from "./artifacts.ts";
import { Children } from "./children.ts";
import { memoryMbOf } from "./declare.ts";
import {
  type DemoInput,
  type DemoSettings,
  type OpenTrace,
  prepareInput,
  RUN_IN_MINUTES,
} from "./input.ts";
import { endLeftovers } from "./leftovers.ts";
import { type DemoReport, introText, ratiosOf } from "./report.ts";
import { DemoRun } from "./run.ts";
import { MINUTE_MS } from "./selection.ts";

export type DemoDeps = {
  clock: Clock;
  nodePath: string;
  env: Readonly<Record<string, string | undefined>>;
  openTrace: OpenTrace;
  enroll: Enroll;
  /** Ends a process of the demo that did not end by itself. */
  kill: (pid: number) => void;
  /** A line for the person who waits. */
  say: (line: string) => void;
  progress: (label: string) => Progress;
};

export async function runDemo(
  settings: DemoSettings,
  deps: DemoDeps,
  { signal }: { signal: AbortSignal },
): Promise<DemoReport> {
  const startedMs = deps.clock.monotonic();
  const random = seededRandom(settings.seed);
  const folder = await mkdtemp(join(tmpdir(), "prestage-demo-"));
  // What libraries leave in the temporary folder goes with ours.
  const children = new Children({ ...deps, env: { ...deps.env, TMPDIR: folder } });
  try {
    const input = await prepareInput(settings, random, deps.openTrace, signal);
    const head = headOf(settings, input);
    deps.say(introText(head));
    const origin = await startOrigin(head, input, { ...deps, children, folder }, signal);
    const run = new DemoRun(
      { ...deps, children },
      { settings, input, folder, origin, ...limits(head, input) },
    );
    const reactive = await run.play("reactive", "observe", signal);
    const prestage = await run.play("with Prestage", "act", signal);
    return {
      ...head,
      reactive: reactive.figures,
      prestage: prestage.figures,
      ratios: ratiosOf(reactive.figures, prestage.figures),
      calibration: prestage.calibration,
      tookSeconds: (deps.clock.monotonic() - startedMs) / 1_000,
    };
  } finally {
    await children.stop();
    await endLeftovers(folder, deps.clock, deps.kill);
    if (settings.keep) deps.say(`kept: ${folder}`);
    else await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

type Head = Omit<DemoReport, "reactive" | "prestage" | "ratios" | "calibration" | "tookSeconds">;

function headOf(settings: DemoSettings, { selection, schedule, workloads }: DemoInput): Head {
  const { window, left } = selection;
  const artifactBytes = totalBytes(workloads);
  const largest = Math.max(...artifactsOf(workloads).map((a) => a.bytes));
  return {
    seed: settings.seed,
    trace: settings.trace,
    hosts: settings.hosts,
    speed: settings.speed,
    playedMinutes: settings.playMinutes,
    runInMinutes: Math.min(RUN_IN_MINUTES, (window.playMs - window.runInMs) / MINUTE_MS),
    historyHours: (window.runInMs - window.fromMs) / (60 * MINUTE_MS),
    workloads: workloads.length,
    categories: selection.series.length,
    artifactBytes,
    // Room for two of the largest at least: one served while another comes.
    diskBytesPerHost: Math.ceil(Math.max(settings.diskShare * artifactBytes, 2.5 * largest)),
    originBytesPerSecond:
      settings.uplinkBytesPerSecond ??
      Math.ceil((artifactBytes * settings.speed * 1_000) / (UPLINK_MINUTES * MINUTE_MS)),
    thinned: schedule.thinned,
    left,
  };
}

/** Demand minutes in which the default uplink brings every artifact once. */
const UPLINK_MINUTES = 10;
/** Half of what all environments together would need, on each host. */
const MEMORY_SHARE = 0.5;

function limits(head: Head, { workloads }: DemoInput) {
  const needs = workloads.flatMap((w) => w.categories.map(() => memoryMbOf(w) * 1e6));
  const all = needs.reduce((sum, bytes) => sum + bytes, 0);
  return {
    uplinkBytesPerSecond: head.originBytesPerSecond,
    diskBytesPerHost: head.diskBytesPerHost,
    memoryBytesPerHost: Math.ceil(Math.max(MEMORY_SHARE * all, 2 * Math.max(...needs))),
  };
}

async function startOrigin(
  { seed, originBytesPerSecond }: Head,
  { workloads }: DemoInput,
  deps: DemoDeps & { children: Children; folder: string },
  signal: AbortSignal,
): Promise<{ root: string; url: string }> {
  const root = join(deps.folder, "origin");
  await mkdir(root);
  const bar = deps.progress("writing artifacts");
  let written = 0;
  await writeArtifacts(root, workloads, {
    seed,
    signal,
    progress: (bytes) => {
      written += bytes;
      bar.update(written, totalBytes(workloads));
    },
  }).finally(() => bar.end());
  const main = new URL("origin/main.ts", import.meta.url).pathname;
  const child = deps.children.start("origin", [main, root, String(originBytesPerSecond)], {
    logFile: join(deps.folder, "origin.log"),
    firstLine: true,
  });
  return { root, url: `http://127.0.0.1:${await child.firstLine}` };
}

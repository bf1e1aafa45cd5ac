/** Time of one plan tick for 1,000 categories × 100 hosts, beside the aim of 50 ms. */

import { PROGRAM_ALONE } from "../../coordinator/plan/decide.ts";
import type { HostView, PlanInput } from "../../coordinator/plan/input.ts";
import { plan } from "../../coordinator/plan/planner.ts";
import type { EnvironmentStatus, HostSample, Order } from "../../shared/domain.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { type Workload, WorkloadsFile } from "../../shared/workload.ts";

const AIM_MS = 50;

type Shape = { workloads: number; categoriesEach: number; hosts: number; ticks: number };

export type PlanBench = {
  categories: number;
  hosts: number;
  ticks: number;
  p50Ms: number;
  p99Ms: number;
  /** CPU time of a tick, garbage collection included; what a busy machine does not blur. */
  cpuMs: number;
  taken: number;
  rows: number;
};

/** Reports change between ticks as they do in a fleet: every host each tick. */
export function benchPlan({ workloads, categoriesEach, hosts, ticks }: Shape): PlanBench {
  const random = seededRandom("plan bench");
  const declared = declare(workloads);
  const categories = Array.from({ length: categoriesEach }, (_, i) => `c${i}`);
  const rates = new Map<string, number>();
  for (const w of declared)
    for (const c of categories) rates.set(`${w.name}/${c}`, 10 ** (random.next() * 4 - 4));
  let views = Array.from({ length: hosts }, (_, i) => view(i, []));
  const affinity = new Map(
    declared.map((w) => [w.name, new Map(views.map((h) => [h.id, random.next()]))]),
  );
  const curves = new Map([...rates].map(([key, rate]) => [key, curveOf(rate)]));
  let previous: Order[] = [];
  const times: number[] = [];
  let cpuMicros = 0;
  for (let tick = 0; tick < ticks + 5; tick++) {
    const input: PlanInput = {
      now: tick * 60_000,
      speed: 1,
      workloads: declared,
      classes: [{ name: "default", priority: 100 }],
      hosts: views,
      categories: () => categories,
      curve: (w, c) => curves.get(`${w}/${c}`) ?? null,
      artifacts: (w, c) => [
        { ref: { name: `${w}-code`, version: "1" }, manifestHash: `${w}-code`, bytes: 1 << 20 },
        { ref: { name: `${w}-${c}`, version: "1" }, manifestHash: `${w}-${c}`, bytes: 64 << 20 },
      ],
      measured: () => ({ warmMs: 1500 }),
      affinity: (w, h) => affinity.get(w)?.get(h) ?? 0,
      aggressiveness: () => ({ threshold: 1, lead: 1 }),
      support: () => PROGRAM_ALONE,
      budgets: {
        stagingBytes: 20 * 2 ** 30,
        host: () => ({ memoryBytes: 1.5 * 2 ** 30, diskBytes: 2 ** 30, environments: 20 }),
      },
      prices: { memoryGbHour: 5, movedGb: 0.5, diskGbHour: 0.002 },
      explicit: [],
      paused: false,
      throttled: new Set(),
      previous,
    };
    const cpuBefore = process.cpuUsage();
    const start = performance.now();
    const result = plan(input);
    const took = performance.now() - start;
    const cpu = process.cpuUsage(cpuBefore);
    if (tick >= 5) {
      times.push(took);
      cpuMicros += cpu.user + cpu.system;
    }
    previous = result.orders;
    views = carriedOut(views, previous);
    for (const [key, rate] of rates)
      if (random.next() < 0.1) curves.set(key, curveOf(rate * 10 ** (random.next() - 0.5)));
  }
  times.sort((a, b) => a - b);
  return {
    categories: workloads * categoriesEach,
    hosts,
    ticks,
    p50Ms: times[Math.floor(times.length / 2)] ?? 0,
    p99Ms: times[Math.min(times.length - 1, Math.floor(times.length * 0.99))] ?? 0,
    cpuMs: cpuMicros / 1000 / Math.max(1, times.length),
    taken: previous.filter((o) => o.taken).length,
    rows: previous.length,
  };
}

function declare(count: number): Workload[] {
  return WorkloadsFile.parse({
    workloads: Array.from({ length: count }, (_, i) => ({
      name: `w${i}`,
      mode: "act",
      match: { pathPrefix: `/w${i}` },
      environment: { command: ["run"] },
    })),
  }).workloads;
}

function curveOf(rate: number) {
  const hazardPerMinute = Array.from({ length: 120 }, (_, k) =>
    Math.min(1, rate * (1 + Math.sin(k / 7))),
  );
  return {
    hazardPerMinute,
    probabilityWithin: (ms: number) => 1 - Math.exp((-rate * ms) / 60_000),
  };
}

function view(i: number, environments: EnvironmentStatus[], orders: Order[] = []): HostView {
  return {
    id: `host-${i}`,
    site: `site-${i % 5}`,
    connected: true,
    sample: SAMPLE,
    environments,
    holdings: orders.flatMap((o) =>
      o.artifacts.map((ref) => ({
        manifestHash: ref.name,
        ref,
        bytesHave: 64 << 20,
        bytes: 64 << 20,
        active: true,
      })),
    ),
  };
}

const SAMPLE: HostSample = {
  atMs: 0,
  cpuUsed: 0.2,
  memoryBytes: 16 * 2 ** 30,
  memoryFreeBytes: 8 * 2 ** 30,
  diskFreeBytes: 2 ** 36,
  requestsPerSecond: 10,
  peerBytesPerSecond: 50 << 20,
  originBytesPerSecond: 5 << 20,
  loopDelayMs: 1,
  agentBytes: 100 << 20,
};

function carriedOut(views: readonly HostView[], orders: readonly Order[]): HostView[] {
  const taken = Map.groupBy(
    orders.filter((o) => o.taken),
    (o) => o.host,
  );
  return views.map((host, i) => {
    const mine = taken.get(host.id) ?? [];
    const environments = mine
      .filter((o) => o.kind === "warm")
      .map(
        (o): EnvironmentStatus => ({
          id: o.id.slice(0, 64),
          workload: o.workload ?? "",
          category: o.category ?? "",
          state: "warm",
          sinceMs: 0,
          verdict: { passed: true, atMs: 0, latencyMs: 1, detail: "" },
          lastUsedMs: null,
          planned: true,
          memoryBytes: 128 << 20,
          restarts: 0,
        }),
      );
    return view(i, environments, mine);
  });
}

if (import.meta.main) {
  for (const shape of [
    { workloads: 1000, categoriesEach: 1, hosts: 100, ticks: 200 },
    { workloads: 20, categoriesEach: 50, hosts: 100, ticks: 200 },
  ]) {
    const r = benchPlan(shape);
    process.stdout.write(
      `plan tick: ${r.categories} categories × ${r.hosts} hosts (${shape.workloads} workloads): ` +
        `p50 ${r.p50Ms.toFixed(1)} ms, p99 ${r.p99Ms.toFixed(1)} ms, CPU ${r.cpuMs.toFixed(1)} ms over ${r.ticks} ticks ` +
        `(aim ${AIM_MS} ms: ${(r.p99Ms / AIM_MS).toFixed(2)}×); ` +
        `${r.taken} orders taken of ${r.rows} weighed\n`,
    );
  }
}

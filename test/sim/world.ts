/** The fleet of one seed: sites, hosts, workloads, artifacts and who asks for what, how often. */
import { categoryKey, type HostId } from "../../shared/domain.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { type QosClass, Workload } from "../../shared/workload.ts";

export type SimArtifact = {
  manifestHash: string;
  ref: { name: string; version: string };
  chunks: { hash: string; bytes: number }[];
  bytes: number;
  hasOrigin: boolean;
  /** Has it from the start. */
  publisher: HostId;
};

export type SimHostSpec = {
  id: HostId;
  site: string;
  quotaBytes: number;
  memoryBytesMax: number;
  environmentsMax: number;
};

export type SimCategory = {
  workload: Workload;
  category: string;
  key: string;
  needs: SimArtifact[];
  /** Mean requests per minute while active. */
  perMinute: number;
  /** Routers its users come in at. */
  origins: HostId[];
  /** Active for `activeMs` of every `cycleMs`, from `phaseMs` on. */
  cycleMs: number;
  activeMs: number;
  phaseMs: number;
};

export type World = {
  hosts: SimHostSpec[];
  classes: QosClass[];
  workloads: Workload[];
  categories: SimCategory[];
  byKey: Map<string, SimCategory>;
  artifacts: Map<string, SimArtifact>;
  budget: { fleet: number; perHost: number; floor: number };
};

const MB = 1 << 20;

export function makeWorld(random: Random, hostCount: number): World {
  const siteCount = Math.max(1, Math.round(hostCount / 10));
  const hosts = Array.from({ length: hostCount }, (_, i) => ({
    id: `host-${i}`,
    site: `site-${i % siteCount}`,
    quotaBytes: (24 + random.int(40)) * MB,
    memoryBytesMax: (256 + random.int(768)) * MB,
    environmentsMax: 1 + random.int(10),
  }));
  const classes = [
    { name: "gold", priority: 200 },
    { name: "default", priority: 100 },
    { name: "batch", priority: 10 },
  ];
  const artifacts = new Map<string, SimArtifact>();
  const artifact = (name: string, chunkCount: number) => {
    const made = makeArtifact(random, name, chunkCount, random.pick(hosts).id);
    artifacts.set(made.manifestHash, made);
    return made;
  };
  const workloads: Workload[] = [];
  const categories: SimCategory[] = [];
  const count = 6 + random.int(4);
  for (let w = 0; w < count; w++) {
    const workload = makeWorkload(random, `app-${w}`, classes);
    workloads.push(workload);
    const code = artifact(`code-${workload.name}`, 2 + random.int(4));
    const names = Array.from({ length: 2 + random.int(3) }, (_, i) => `c${i}`);
    for (const category of names) {
      const data = artifact(`data-${workload.name}-${category}`, 6 + random.int(14));
      categories.push(makeCategory(random, workload, category, [code, data], hosts));
    }
  }
  return {
    hosts,
    classes,
    workloads,
    categories,
    byKey: new Map(categories.map((c) => [c.key, c])),
    artifacts,
    budget: { fleet: (2 + random.int(20)) * MB, perHost: 2 * MB, floor: MB / 8 },
  };
}

function makeArtifact(
  random: Random,
  name: string,
  chunkCount: number,
  publisher: HostId,
): SimArtifact {
  const chunks = Array.from({ length: chunkCount }, () => ({
    hash: hexText(random, 64),
    bytes: 64 * 1024 + random.int(448 * 1024),
  }));
  return {
    manifestHash: hexText(random, 64),
    ref: { name, version: "1" },
    chunks,
    bytes: chunks.reduce((sum, chunk) => sum + chunk.bytes, 0),
    hasOrigin: random.next() < 0.8,
    publisher,
  };
}

function makeWorkload(random: Random, name: string, classes: readonly QosClass[]): Workload {
  return Workload.parse({
    name,
    mode: random.next() < 0.8 ? "act" : random.next() < 0.5 ? "advise" : "observe",
    class: random.pick(classes).name,
    match: { pathPrefix: `/${name}` },
    category: { from: "path", segment: 1 },
    artifacts: [
      { name: `code-${name}`, version: "1", kind: "code", as: "code" },
      { name: `data-${name}-{category}`, version: "1", kind: "data", as: "data" },
    ],
    environment: {
      command: ["serve", "{port}"],
      resources: { memoryMb: 48 + random.int(160) },
    },
    shadow: { request: { path: "/" } },
    placement: { hosts: 1 + random.int(3) },
    keepAliveMs: 120_000,
    missCostSeconds: 1 + random.int(20),
  });
}

function makeCategory(
  random: Random,
  workload: Workload,
  category: string,
  needs: SimArtifact[],
  hosts: readonly SimHostSpec[],
): SimCategory {
  const cycleMs = 120_000 + random.int(600_000);
  return {
    workload,
    category,
    key: categoryKey(workload.name, category),
    needs,
    perMinute: 0.3 + random.exponential(2),
    origins: Array.from({ length: 1 + random.int(4) }, () => random.pick(hosts).id),
    cycleMs,
    activeMs: cycleMs * (0.3 + 0.6 * random.next()),
    phaseMs: random.int(cycleMs),
  };
}

export function isActive(
  category: Pick<SimCategory, "cycleMs" | "activeMs" | "phaseMs">,
  nowMs: number,
): boolean {
  return (nowMs + category.phaseMs) % category.cycleMs < category.activeMs;
}

export function hexText(random: Random, length: number): string {
  let text = "";
  while (text.length < length) text += random.int(0x10000).toString(16).padStart(4, "0");
  return text.slice(0, length);
}

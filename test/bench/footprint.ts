/**
 * What an idle agent costs its host: a real coordinator and real agents as processes with default
 * settings, joined with real tokens, measured once they have settled. Beside them a Node process
 * that does nothing, as the limit. Declared workloads make agents load the affinity model (ONNX).
 *
 *   node test/bench/footprint.ts [--seconds 30] [--settle 25] [--agents 1] [--workloads 0] [--json]
 *
 * Linux only: memory and CPU time are read from /proc.
 */
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ApiClient } from "../../coordinator/cli/client.ts";
import { type Access, readAccess } from "../../coordinator/cli/context.ts";
import { type Child, Children } from "../../packaging/demo/children.ts";
import type { HostList, JoinTokenGiven } from "../../shared/api.ts";
import { systemClock as clock } from "../../shared/runtime/clock.ts";
import { median } from "../support/median.ts";

const RESIDENT_MB_AIM = 120;
const CORE_SHARE_AIM = 0.01;
const PRESTAGE = join(import.meta.dirname, "../../packaging/prestage.mjs");
const START_WITHIN_MS = 60_000;
const SAMPLE_MS = 1_000;
const SITE = "bench";

type Memory = { residentMb: number; anonymousMb: number; fileMb: number };
type Footprint = Memory & { name: string; residentMaxMb: number; coreShare: number };
type Joining = { access: Access; client: ApiClient; children: Children };
type Options = { seconds: number; settleSeconds: number; agents: number; workloads: number };

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "30" },
      settle: { type: "string", default: "25" },
      agents: { type: "string", default: "1" },
      workloads: { type: "string", default: "0" },
      json: { type: "boolean", default: false },
    },
  });
  const rows = await bench({
    seconds: Number(values.seconds),
    settleSeconds: Number(values.settle),
    agents: Number(values.agents),
    workloads: Number(values.workloads),
  });
  process.stdout.write(values.json ? `${JSON.stringify(rows, null, 2)}\n` : text(rows));
}

async function bench(options: Options): Promise<Footprint[]> {
  const dir = await mkdtemp(join(tmpdir(), "prestage-footprint-"));
  const children = new Children({ clock, nodePath: process.execPath, env: process.env });
  try {
    const fleet = await startFleet(dir, children, options);
    const bare = children.start("bare node", ["-e", "setInterval(() => {}, 1e6)"], {
      logFile: join(dir, "bare.log"),
    });
    await clock.sleep(options.settleSeconds * 1_000);
    children.check(fleet);
    return await Promise.all([...fleet, bare].map((child) => measure(child, options.seconds)));
  } finally {
    await children.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

/** The agents first, then the coordinator; resolves when all are connected. */
async function startFleet(
  dir: string,
  children: Children,
  { agents, workloads }: Options,
): Promise<Child[]> {
  const start = async (kind: "agent" | "coordinator", name: string, config: object) => {
    const file = join(dir, `${name}.yaml`);
    await writeFile(file, JSON.stringify(config), { mode: 0o600 }); // JSON is YAML
    const args = [PRESTAGE, kind, "--config", file, "--stop-with-stdin"];
    return children.start(name, args, { logFile: join(dir, `${name}.log`) });
  };
  const dataDir = join(dir, "coordinator");
  const listen = { host: "127.0.0.1", port: 0 };
  const coordinator = await start("coordinator", "coordinator", { dataDir, listen });
  const look = () => readAccess(join(dataDir, "cli.json")).catch(() => null);
  const access = await until([coordinator], children, look);
  const hosts = Array.from({ length: agents }, (_, i) => `agent-${i + 1}`);
  const client = new ApiClient(access);
  try {
    const running = await Promise.all(
      hosts.map(async (host) => {
        const config = {
          ...(await joined(dir, host, { access, client, children })),
          host,
          site: SITE,
        };
        return start("agent", host, config);
      }),
    );
    const all = [...running, coordinator];
    const declared = Array.from({ length: workloads }, (_, i) => workload(i));
    if (workloads > 0) await client.post("/api/v1/workloads", { workloads: declared }, soon());
    await until(all, children, async () => {
      const list = await client.get<HostList>("/api/v1/hosts", {}, soon());
      return list.hosts.filter((h) => h.connected).length === agents ? true : null;
    });
    return all;
  } finally {
    await client.close();
  }
}

/** `prestage join`; the rest of the host's configuration. */
async function joined(dir: string, host: string, { access, client, children }: Joining) {
  const body = { ttlMs: 600_000, host, site: SITE };
  const { token } = await client.post<JoinTokenGiven>("/api/v1/join-tokens", body, soon());
  const tokenFile = join(dir, `${host}.token`);
  await writeFile(tokenFile, token, { mode: 0o600 });
  const dataDir = join(dir, host);
  const where = ["--coordinator", access.url, "--token-file", tokenFile, "--data", dataDir];
  const args = [PRESTAGE, "join", ...where, "--host", host, "--site", SITE];
  const logFile = join(dir, `${host}.join.log`);
  const { handle } = children.start(`${host} joins`, args, { logFile });
  const [code] = await once(handle, "exit");
  if (code !== 0) throw new Error(`${host} did not join: ${await readFile(logFile, "utf8")}`);
  return {
    dataDir,
    coordinator: access.url,
    router: { host: "127.0.0.1", port: 0 },
    mesh: { listen: "127.0.0.1", port: 0 },
  };
}

function workload(i: number): object {
  const name = `idle-${i}`;
  const environment = { command: ["sleep", "1"], readiness: { path: "/" } };
  return { name, match: { pathPrefix: `/${name}/` }, environment };
}

const soon = () => ({ signal: AbortSignal.timeout(10_000) });

async function until<T>(
  running: Child[],
  children: Children,
  look: () => Promise<T | null>,
): Promise<T> {
  const untilMs = clock.monotonic() + START_WITHIN_MS;
  for (;;) {
    children.check(running);
    const found = await look();
    if (found !== null) return found;
    if (clock.monotonic() > untilMs) throw new Error("the fleet did not start within a minute");
    await clock.sleep(50);
  }
}

async function measure({ name, handle }: Child, seconds: number): Promise<Footprint> {
  const pid = handle.pid ?? 0;
  const startMs = clock.monotonic();
  const cpuAtStart = await cpuSeconds(pid);
  const samples: Memory[] = [];
  do {
    await clock.sleep(SAMPLE_MS);
    samples.push(await memory(pid));
  } while (clock.monotonic() - startMs < seconds * 1_000);
  const cpu = (await cpuSeconds(pid)) - cpuAtStart;
  return {
    name,
    residentMb: median(samples.map((s) => s.residentMb)),
    anonymousMb: median(samples.map((s) => s.anonymousMb)),
    fileMb: median(samples.map((s) => s.fileMb)),
    residentMaxMb: Math.max(...samples.map((s) => s.residentMb)),
    coreShare: cpu / ((clock.monotonic() - startMs) / 1_000),
  };
}

async function memory(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const mb = (key: string) => {
    const kib = new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(status)?.[1];
    return (Number(kib) * 1024) / 1e6;
  };
  return { residentMb: mb("VmRSS"), anonymousMb: mb("RssAnon"), fileMb: mb("RssFile") };
}

/** Of all its threads, to the nanosecond; `stat` counts in ticks of 10 ms. */
async function cpuSeconds(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`);
  const times = await Promise.all(
    threads.map(async (thread) => {
      const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8");
      return Number(text.split(" ")[0]) / 1e9;
    }),
  );
  return times.reduce((sum, seconds) => sum + seconds, 0);
}

function text(rows: Footprint[]): string {
  const lines = rows.map(
    (r) =>
      `${r.name.padEnd(12)} ${r.residentMb.toFixed(1).padStart(6)} MB resident ` +
      `(${r.anonymousMb.toFixed(1)} anonymous, ${r.fileMb.toFixed(1)} of files; ` +
      `at most ${r.residentMaxMb.toFixed(1)}), ${(r.coreShare * 100).toFixed(2)} % of a core`,
  );
  const agents = rows.filter((r) => r.name.startsWith("agent-"));
  const met = agents.every((r) => r.residentMb <= RESIDENT_MB_AIM && r.coreShare <= CORE_SHARE_AIM);
  const aim = `${RESIDENT_MB_AIM} MB and ${CORE_SHARE_AIM * 100} % of a core`;
  return `${lines.join("\n")}\nan idle agent within ${aim}: ${met ? "yes" : "no"}\n`;
}

await main();

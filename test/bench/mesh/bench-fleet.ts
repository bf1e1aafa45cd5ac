/** A fleet of real agents on shaped links for the mesh's benchmarks, and what its processes cost. */
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { NamespacedFleet, until } from "../../support/namespaced-fleet.ts";

export const MIB = 1 << 20;
const CLOCK_TICKS_PER_SECOND = 100;

export type BenchOptions = {
  /** The first is the one that publishes. */
  hosts: readonly string[];
  /** Megabits per second of each host's link, in both directions; null: as the machine gives. */
  linkMbit: number | null;
  qos?: object;
  /** By host; default: one site. */
  sites?: (host: string) => string;
  /** Further hosts on the network, without an agent and a limit. */
  others?: readonly string[];
};

export class BenchFleet {
  readonly fleet: NamespacedFleet;
  readonly hosts: readonly string[];
  readonly dir: string;

  private constructor(fleet: NamespacedFleet, hosts: readonly string[], dir: string) {
    this.fleet = fleet;
    this.hosts = hosts;
    this.dir = dir;
  }

  /** All enrolled, started, connected and shaped. */
  static async open(options: BenchOptions): Promise<BenchFleet> {
    const { hosts, linkMbit, qos = {}, sites, others = [] } = options;
    const dir = await mkdtemp(join(tmpdir(), "prestage-bench-"));
    const fleet = await NamespacedFleet.open({
      dir,
      hosts: [...hosts, ...others],
      agent: {},
      coordinator: {
        qos: { peakCpu: 1, stagingBytesPerSecond: 100e9, perHostBytesPerSecond: 10e9, ...qos },
      },
    });
    const bench = new BenchFleet(fleet, hosts, dir);
    try {
      await fleet.startCoordinator();
      for (const host of hosts) {
        const site = sites ? ["--site", sites(host)] : [];
        const { exit, stderr } = await fleet.join(host, await fleet.joinToken(), host, site);
        if (exit !== 0) throw new Error(`join: ${stderr}`);
        await fleet.startAgent(host);
      }
      await until("all connected", async () => {
        const known = await fleet.hosts().catch(() => []);
        return known.filter((h) => h.connected).length === hosts.length;
      });
      await until("all know one another", async () => {
        const metrics = await Promise.all(hosts.map((h) => fleet.agentIfUp(h)));
        return metrics.every((m) => m !== null);
      });
      if (linkMbit !== null) for (const host of hosts) await fleet.shape(host, linkMbit);
      return bench;
    } catch (cause) {
      await bench.close();
      throw cause;
    }
  }

  /** Publishes random bytes as one file; gives where the original lies and the manifest's hash. */
  async publish(
    name: string,
    mib: number,
    host = this.hosts[0] ?? "",
  ): Promise<{ file: string; manifestHash: string }> {
    const folder = join(this.dir, `payload-${name}`);
    await mkdir(folder);
    const file = join(folder, "payload.bin");
    writeRandom(file, mib);
    const args = ["publish", folder, "--name", name, "--version", "1"];
    const { manifestHash } = await this.fleet.json<{ manifestHash: string }>(args, { host });
    return { file, manifestHash };
  }

  /** Where a host has the file of a version that is whole there; null while it is not. */
  async placed(host: string, manifestHash: string): Promise<string | null> {
    const holding = (await this.fleet.agentIfUp(host))?.holdings.find(
      (h) => h.manifestHash === manifestHash,
    );
    if (!holding?.active) return null;
    return join(this.fleet.dataDir(host), "mesh", "trees", manifestHash, "payload.bin");
  }

  /** Throws unless every host has exactly the bytes that were published. */
  async compare(file: string, manifestHash: string, hosts: readonly string[]): Promise<void> {
    const original = await readFile(file);
    for (const host of hosts) {
      const path = await this.placed(host, manifestHash);
      if (!path || !original.equals(await readFile(path))) throw new Error(`${host}: wrong bytes`);
    }
  }

  /** Seconds of CPU the agents have used so far. */
  cpuSeconds(): number {
    let sum = 0;
    for (const host of this.hosts) sum += cpuSecondsOf(this.fleet.process(host)?.pid ?? 0);
    return sum;
  }

  /** Lets the agents end by themselves, so that their profiles are written. */
  async stopAgents(): Promise<void> {
    for (const host of this.hosts) this.fleet.process(host)?.kill("SIGTERM");
    const ended = () => this.hosts.every((h) => this.fleet.process(h)?.exitCode !== null);
    for (let i = 0; i < 200 && !ended(); i++) await systemClock.sleep(50);
  }

  async close(): Promise<void> {
    await this.fleet.close();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Of a process and, as `ip netns exec` may stay in between, of its children. */
function cpuSecondsOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    const own = Number(fields[11]) + Number(fields[12]);
    const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").filter(Boolean),
    );
    return children.reduce((sum, c) => sum + cpuSecondsOf(Number(c)), own / CLOCK_TICKS_PER_SECOND);
  } catch {
    return 0; // it has ended
  }
}

export function writeRandom(file: string, mib: number): void {
  const fd = openSync(file, "w");
  for (let i = 0; i < mib; i++) writeSync(fd, randomBytes(MIB));
  closeSync(fd);
}

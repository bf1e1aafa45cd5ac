/**
 * `kill.ts [TIMES] [HOSTS] [MIB] [MBYTES]`: HOSTS agents' meshes, each a process of its own, fetch
 * from a seed on loopback at MBYTES a second while one of them at random is killed with SIGKILL and
 * started again, TIMES in all; one that has all begins anew, with an empty disk. After each kill the disk is hashed: a start has to know every whole chunk that lies there.
 * Prints what it did not know (nothing may be), what was sent twice (it was in flight at a kill),
 * and how long it took from the start of the process until it served, with the CPU time of it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { TestFleet, until, writeTree } from "../../../agent/mesh/mesh.fixture.ts";
import { nodeDisk, removeFolder } from "../../../agent/mesh/store/disk.ts";
import type { Member, SignedManifest } from "../../../shared/domain.ts";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { seededRandom } from "../../../shared/runtime/random.ts";
import { bytesOnDisk } from "../../support/bytes-on-disk.ts";

const TIMES = Number(process.argv[2] ?? 100);
const HOSTS = Number(process.argv[3] ?? 3);
const MIB = Number(process.argv[4] ?? 64);
const RATE = Number(process.argv[5] ?? 20) * 1e6;
/** As `prestage` itself does. */
const CACHE = join(import.meta.dirname, "../../../node_modules/.cache/prestage");
const say = (line: string) => process.stdout.write(`${line}\n`);
const random = seededRandom(`kill ${process.env.PRESTAGE_SEED ?? "1"}`);
type Line = {
  what: string;
  bytesHave: number;
  peerBytes: number;
  refetchedChunks: number;
  cpuMs: number;
};
const NONE = { what: "", bytesHave: 0, peerBytes: 0, refetchedChunks: 0, cpuMs: 0 };

class Host {
  readonly #config: object;
  #child: ChildProcess | null = null;
  readonly #onDisk: () => Promise<number>;
  readonly #wipe: () => Promise<void>;
  #last: Line = NONE;
  startMs = 0;
  startCpuMs = 0;
  /** Whole chunks on the disk that a start did not know. */
  lostBytes = 0;
  refetched = 0;
  done = false;
  /** Of the artifact, that it has got or will get. */
  copies = 1;

  constructor(config: object, dir: string, signed: SignedManifest) {
    this.#onDisk = async () => {
      const roots = ["partial", "trees"].map((folder) => join(dir, folder, signed.hash));
      return Math.max(...(await Promise.all(roots.map((root) => bytesOnDisk(root, signed)))));
    };
    this.#wipe = async () => {
      await removeFolder(nodeDisk, dir);
      await mkdir(dir);
    };
    this.#config = config;
  }

  async start(rate: number): Promise<void> {
    const fixture = join(import.meta.dirname, "../../../agent/mesh/crash.fixture.ts");
    const heldBytes = await this.#onDisk();
    const startedMs = performance.now();
    const config = JSON.stringify({ ...this.#config, rate, talkative: true });
    const child = spawn(process.execPath, [fixture, config], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, NODE_COMPILE_CACHE: CACHE },
    });
    this.#child = child;
    const serving = Promise.withResolvers<void>();
    createInterface({ input: child.stdout }).on("line", (text) => {
      const line: Line = JSON.parse(text);
      if (line.what === "started") {
        this.startMs = performance.now() - startedMs;
        this.startCpuMs = line.cpuMs;
        this.lostBytes += heldBytes - line.bytesHave;
        serving.resolve();
      }
      if (line.what === "done") this.done = true;
      this.refetched = Math.max(this.refetched, line.refetchedChunks);
      this.#last = line;
    });
    await serving.promise;
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** Once more, from nothing. */
  async renew(): Promise<void> {
    await this.kill();
    await this.#wipe();
    this.done = false;
    this.copies++;
    await this.start(RATE);
  }

  get moving(): boolean {
    return this.done || this.#last.peerBytes > 0;
  }
}

function spread(all: number[]): string {
  const sorted = all.toSorted((a, b) => a - b);
  const at = (q: number) => sorted[Math.floor(q * (sorted.length - 1))]?.toFixed(0);
  return `median ${at(0.5)} ms, most ${at(1)} ms`;
}

async function kills(): Promise<void> {
  const fleet = new TestFleet();
  const hosts: Host[] = [];
  try {
    const seeder = await fleet.start("seeder");
    const content = await fleet.folder();
    await writeTree(content, { x: randomBytes((MIB << 20) - 1_000_000), "d/y": randomBytes(1e6) });
    const signed = await fleet.publish(seeder, content);
    const members: Member[] = [seeder.member];
    for (let i = 0; i < HOSTS; i++) {
      const seed = randomBytes(32);
      const key = await generateKeyPairFromSeed("Ed25519", seed);
      const peerId = peerIdFromPrivateKey(key).toString();
      const host = `child-${i}`;
      const self = { host, site: "lab", peerId, meshAddresses: [], routerUrl: null };
      members.push(self);
      const dir = join(await fleet.folder(), "store");
      await mkdir(dir);
      const config = { dir, seed: seed.toString("hex"), seeder: seeder.member, self, signed };
      hosts.push(new Host(config, dir, signed));
    }
    seeder.mesh.setMembers(members);
    for (const host of hosts) await host.start(RATE);
    const startsMs: number[] = [];
    const startsCpuMs: number[] = [];
    for (let i = 0; i < TIMES; i++) {
      const host = hosts[random.int(HOSTS)];
      if (!host) throw new Error("no host");
      if (host.done) await host.renew();
      await until(() => host.moving, 60_000);
      await systemClock.sleep(random.next() * 300);
      await host.kill();
      await host.start(RATE);
      startsMs.push(host.startMs);
      startsCpuMs.push(host.startCpuMs);
    }
    for (const host of hosts) await host.kill();
    for (const host of hosts) await host.start(1e9);
    await until(() => hosts.every((h) => h.done), 120_000);
    const sum = (of: (host: Host) => number) => hosts.reduce((total, h) => total + of(h), 0);
    const sent = seeder.mesh.counters().sentBytes - sum((h) => h.copies) * (MIB << 20);
    say(
      `${TIMES} kills of ${HOSTS} hosts at ${MIB} MiB: ${sum((h) => h.lostBytes)} bytes on the ` +
        `disk not known at a start, ${sum((h) => h.refetched)} chunks again`,
    );
    say(`sent beyond the artifact: ${sent} bytes, ${Math.round(sent / TIMES)} a kill (in flight)`);
    say(`process start to serving: ${spread(startsMs)}; CPU ${spread(startsCpuMs)}`);
  } finally {
    for (const host of hosts) await host.kill();
    await fleet.close();
  }
}

await kills();

/**
 * `kill.ts [TIMES] [HOSTS] [MIB]`: HOSTS agents' meshes, each a process of its own, fetch from a
 * seed on loopback while one of them at random is killed with SIGKILL and started again, TIMES in
 * all. Prints what a start lost of the chunks that were verified before (nothing may be), what came
 * twice, and how long it took from the start of the process until it served; then how long a store
 * with 90,000 chunks takes to open.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { hash, randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { nodeDisk } from "../../../agent/mesh/disk.ts";
import { FileHandles } from "../../../agent/mesh/handles.ts";
import { Journal } from "../../../agent/mesh/journal.ts";
import { TestFleet, until, writeTree } from "../../../agent/mesh/mesh.fixture.ts";
import { Store } from "../../../agent/mesh/store.ts";
import type { Member } from "../../../shared/domain.ts";
import { keyFromSeed, signManifest } from "../../../shared/manifest.ts";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { createLog } from "../../../shared/runtime/log.ts";
import { seededRandom } from "../../../shared/runtime/random.ts";

const TIMES = Number(process.argv[2] ?? 100);
const HOSTS = Number(process.argv[3] ?? 3);
const MIB = Number(process.argv[4] ?? 64);
const RATE = 4e6;
const say = (line: string) => process.stdout.write(`${line}\n`);
const random = seededRandom(`kill ${process.env.PRESTAGE_SEED ?? "1"}`);
type Line = { what: string; bytesHave: number; peerBytes: number; refetchedChunks: number };

class Host {
  readonly #config: object;
  #child: ChildProcess | null = null;
  #last: Line = { what: "", bytesHave: 0, peerBytes: 0, refetchedChunks: 0 };
  /** Bytes received in lives before this one, as far as they were told. */
  receivedBytes = 0;
  startMs = 0;
  lostBytes = 0;
  refetched = 0;
  done = false;

  constructor(config: object) {
    this.#config = config;
  }

  async start(rate: number): Promise<void> {
    const fixture = join(import.meta.dirname, "../../../agent/mesh/crash.fixture.ts");
    const startedMs = performance.now();
    const config = JSON.stringify({ ...this.#config, rate, talkative: true });
    const child = spawn(process.execPath, [fixture, config], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    const before = this.#last;
    this.receivedBytes += before.peerBytes;
    const serving = Promise.withResolvers<void>();
    createInterface({ input: child.stdout }).on("line", (text) => {
      const line: Line = JSON.parse(text);
      if (line.what === "started") {
        this.startMs = performance.now() - startedMs;
        this.lostBytes += Math.max(0, before.bytesHave - line.bytesHave);
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

  get moving(): boolean {
    return this.#last.peerBytes > 0;
  }

  get totalBytes(): number {
    return this.receivedBytes + this.#last.peerBytes;
  }
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
      const self = { host: "child", site: "lab", peerId, meshAddresses: [], routerUrl: null };
      members.push({ ...self, host: `child-${i}` });
      const dir = join(await fleet.folder(), "store");
      await mkdir(dir);
      const config = { dir, seed: seed.toString("hex"), seeder: seeder.member, self, signed };
      hosts.push(new Host(config));
    }
    seeder.mesh.setMembers(members);
    const rate = Math.min(RATE, ((MIB << 20) * HOSTS) / (TIMES * 1.5));
    for (const host of hosts) await host.start(rate);
    const startsMs: number[] = [];
    for (let i = 0; i < TIMES; i++) {
      const host = hosts[random.int(HOSTS)];
      if (!host) throw new Error("no host");
      await until(() => host.moving);
      await systemClock.sleep(random.next() * 300);
      await host.kill();
      await host.start(rate);
      startsMs.push(host.startMs);
    }
    for (const host of hosts) await host.kill();
    for (const host of hosts) await host.start(1e9);
    await until(() => hosts.every((h) => h.done), 120_000);
    startsMs.sort((a, b) => a - b);
    const lost = hosts.reduce((sum, h) => sum + h.lostBytes, 0);
    const twice = hosts.reduce((sum, h) => sum + h.totalBytes - (MIB << 20), 0);
    const refetched = hosts.reduce((sum, h) => sum + h.refetched, 0);
    const at = (q: number) => startsMs[Math.floor(q * (startsMs.length - 1))]?.toFixed(0);
    say(`${TIMES} kills of ${HOSTS} hosts: ${lost} verified bytes lost, ${refetched} chunks again`);
    say(`received beyond the artifact: ${twice} bytes (were in flight at a kill)`);
    say(`process start to serving: median ${at(0.5)} ms, most ${at(1)} ms`);
  } finally {
    for (const host of hosts) await host.kill();
    await fleet.close();
  }
}

async function bigStore(): Promise<void> {
  const fleet = new TestFleet();
  try {
    const dir = await fleet.folder();
    const chunks = Array.from({ length: 90_000 }, (_, i) => ({
      hash: hash("sha256", `${i}`, "hex"),
      bytes: 262_144,
    }));
    const bytes = chunks.length * 262_144;
    const file = { path: "model.bin", mode: 0o644 as const, bytes, chunks };
    const about = { name: "n", version: "1", createdMs: 0, originUrl: null, publisher: "h" };
    const manifest = { ...about, files: [file], bytes };
    const signed = signManifest(manifest, keyFromSeed(new Uint8Array(32)));
    const log = createLog({ name: "bench", level: "silent" });
    const deps = { clock: systemClock, log, isProtected: () => false, isWithPeers: () => false };
    const plenty = async () => ({ bavail: 1e9, bsize: 4096, blocks: 1e9 });
    const disk = Object.assign({ ...nodeDisk }, { statfs: plenty });
    const open = async () => {
      const store = new Store({ ...deps, disk }, { dir, quotaBytes: 1e15, reserveRatio: 0 });
      await store.open();
      return store;
    };
    const first = await open();
    await first.add(signed, manifest, { foreground: true, priority: 1 });
    await first.close();
    const handles = new FileHandles(nodeDisk, { capacity: 1 });
    const journal = new Journal(
      { disk: nodeDisk, handles },
      join(dir, "state", signed.hash),
      signed.hash,
    );
    journal.written(chunks.map((_, i) => i).slice(1));
    await journal.commit();
    await journal.durable(chunks.length - 1);
    await handles.close();
    const startMs = performance.now();
    const store = await open();
    const tookMs = performance.now() - startMs;
    const { have } = store.get(signed.hash) ?? {};
    say(
      `a store with ${have?.count} chunks of a version of 90,000 opens in ${tookMs.toFixed(0)} ms`,
    );
    await store.close();
  } finally {
    await fleet.close();
  }
}

await bigStore();
await kills();

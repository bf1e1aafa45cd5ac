import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { expect, test } from "vitest";
import type { Member } from "../../shared/domain.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { bytesOnDisk } from "../../test/support/bytes-on-disk.ts";
import { TestFleet, writeTree } from "./mesh.fixture.ts";

type Line = { what: string; bytesHave: number; peerBytes: number; refetchedChunks: number };

class Life {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;

  constructor(config: object) {
    const fixture = join(import.meta.dirname, "crash.fixture.ts");
    this.#child = spawn(process.execPath, [fixture, JSON.stringify(config)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#ended = new Promise((resolve) => this.#child.once("exit", resolve));
    if (!this.#child.stdout) throw new Error("no output");
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async line(): Promise<Line> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the child ended");
    return JSON.parse(value);
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

test("mesh: no verified chunk is fetched twice and nothing corrupt is activated (killed with SIGKILL 20 times in the middle)", {
  timeout: 240_000,
}, async () => {
  const random = seededRandom(`crash ${process.env.PRESTAGE_SEED ?? "1"}`);
  const fleet = new TestFleet();
  let life: Life | null = null;
  try {
    const seeder = await fleet.start("seeder");
    const seed = randomBytes(32);
    const peerId = peerIdFromPrivateKey(await generateKeyPairFromSeed("Ed25519", seed)).toString();
    const self: Member = {
      host: "child",
      site: "lab",
      peerId,
      meshAddresses: [],
      routerUrl: null,
    };
    seeder.mesh.setMembers([seeder.member, self]);
    const content = await fleet.folder();
    const files = { "a/x": randomBytes(30 << 20), "a/y": randomBytes(10 << 20) };
    await writeTree(content, files);
    const signed = await fleet.publish(seeder, content);
    const dir = join(await fleet.folder(), "store");
    await mkdir(dir);
    const config = { dir, seed: seed.toString("hex"), seeder: seeder.member, self, signed };
    const onDiskNow = () => bytesOnDisk(join(dir, "partial", signed.hash), signed);
    let midway = 0;
    // One that comes before a life's first chunk is not in the middle.
    for (let i = 0; midway < 20 && i < 40; i++) {
      const onDisk = await onDiskNow();
      life = new Life({ ...config, rate: 2e6 });
      const started = await life.line();
      expect(started).toMatchObject({ what: "started", bytesHave: onDisk });
      expect(await life.line()).toMatchObject({ what: "moving" });
      await systemClock.sleep(random.next() * 400);
      await life.kill();
      expect(await readdir(join(dir, "trees"))).toEqual([]);
      if ((await onDiskNow()) > onDisk) midway++;
    }
    expect(midway).toBe(20);
    const onDisk = await onDiskNow();
    life = new Life({ ...config, rate: 1e9 });
    const started = await life.line();
    await life.line();
    const done = await life.line();
    expect(started.bytesHave).toBe(onDisk);
    expect(done).toMatchObject({ what: "done", bytesHave: 40 << 20, refetchedChunks: 0 });
    expect(done.peerBytes).toBe((40 << 20) - onDisk);
    for (const [path, bytes] of Object.entries(files))
      expect((await readFile(join(dir, "trees", signed.hash, path))).equals(bytes)).toBe(true);
  } finally {
    await life?.kill();
    await fleet.close();
  }
});

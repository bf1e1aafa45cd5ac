/** What cold hosts of a real fleet take from a real origin, and from another site. */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { countingOrigin, sentBy, sumOf } from "../support/counting-origin.ts";
import { Daemons } from "../support/daemons.ts";
import { freePort, obstacleTo, type RealServer, startServer } from "../support/source-servers.ts";

const obstacle = obstacleTo("nginx");
const MIB = 1 << 20;
const BYTES = 16 * MIB;
/** Of each answer while hosts fetch, so that a copy takes some seconds. */
const ORIGIN_BYTES_PER_SECOND = 250_000;
const WITHIN_MS = 240_000;
const COLD = ["h1", "h2", "h3", "h4"];
const FAR = ["f1", "f2", "f3"];

describe.skipIf(obstacle)("cold hosts that want the same at once", () => {
  const daemons = new Daemons();
  let folder: string;
  let port: number;
  let origin: RealServer;
  let alive = COLD;

  const transfers = async (host: string) =>
    (await daemons.status<{ transfers: { originBytes: number; sentBytes: number } }>(host))
      .transfers;
  const sent = async () => sumOf(await sentBy(join(folder, "nginx")));

  async function startOrigin(bytesPerSecond: number): Promise<void> {
    const dir = join(folder, "nginx");
    const at = `127.0.0.1:${port}`;
    const command = await countingOrigin(dir, join(folder, "root"), at, bytesPerSecond);
    const [name = "", ...args] = command;
    origin = await startServer(name, args, port);
  }

  /** New content at the origin, known to the fleet and held by nobody. */
  async function published(name: string): Promise<{ content: Buffer; manifestHash: string }> {
    await origin.stop();
    await startOrigin(0);
    const content = randomBytes(BYTES);
    await writeFile(join(folder, "root", `${name}.bin`), content);
    const url = `http://127.0.0.1:${port}/${name}.bin`;
    const args = ["publish", url, "--name", name, "--version", "1", "--no-keep"];
    const of = ["--data", daemons.dataDir("publisher")];
    const made = await daemons.json<{ manifestHash: string }>([...args, ...of]);
    await origin.stop();
    await startOrigin(ORIGIN_BYTES_PER_SECOND);
    return { content, ...made };
  }

  const stage = (name: string, hosts: readonly string[]) =>
    daemons.run(["stage", `${name}@1`, "--hosts", hosts.join(), "--wait", "--json"]);

  async function expectWhole(
    { content, manifestHash }: { content: Buffer; manifestHash: string },
    path: string,
    hosts: readonly string[],
  ): Promise<void> {
    for (const host of hosts) {
      const file = join(daemons.dataDir(host), "mesh", "trees", manifestHash, path);
      expect(content.equals(await readFile(file)), host).toBe(true);
    }
  }

  /** Resolves when half of it has come from the origin. */
  const half = (before: number) =>
    daemons.until("half of it came", async () => (await sent()) - before > BYTES / 2);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "prestage-origin-"));
    await mkdir(join(folder, "root"));
    daemons.folder = folder;
    port = await freePort();
    await startOrigin(0);
    // However busy this machine is: what is measured is bytes.
    const qos = { peakCpu: 1, stagingBytesPerSecond: 100e9, perHostBytesPerSecond: 10e9 };
    await daemons.startCoordinator({ plan: { tickMs: 500 }, qos });
    const lab = ["publisher", ...COLD].map((host) => [host, { site: "lab" }]);
    const edge = FAR.map((host) => [host, { site: "edge" }]);
    await daemons.startAgents(Object.fromEntries([...lab, ...edge]));
  }, WITHIN_MS);

  afterAll(async () => {
    await daemons.stop();
    await origin?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("take it from the origin once", { timeout: WITHIN_MS }, async () => {
    const version = await published("once");
    const before = await sent();
    expect(await stage("once", COLD)).toMatchObject({ exit: 0 });
    await expectWhole(version, "once.bin", COLD);
    expect((await sent()) - before).toBeLessThanOrEqual(1.05 * BYTES);
  });

  test("take it from the origin once, in two sites together", { timeout: WITHIN_MS }, async () => {
    const version = await published("both");
    const before = await sent();
    expect(await stage("both", [...COLD, ...FAR])).toMatchObject({ exit: 0 });
    await expectWhole(version, "both.bin", [...COLD, ...FAR]);
    expect((await sent()) - before).toBeLessThanOrEqual(1.05 * BYTES);
  });

  test("cross from one site to another once", { timeout: WITHIN_MS }, async () => {
    const dir = join(folder, "crossing");
    await mkdir(dir);
    const content = randomBytes(BYTES);
    await writeFile(join(dir, "f"), content);
    const args = ["publish", dir, "--name", "crossing", "--version", "1"];
    const of = ["--data", daemons.dataDir("publisher")];
    const { manifestHash } = await daemons.json<{ manifestHash: string }>([...args, ...of]);
    const before = (await transfers("publisher")).sentBytes;
    expect(await stage("crossing", FAR)).toMatchObject({ exit: 0 });
    await expectWhole({ content, manifestHash }, "f", FAR);
    expect((await transfers("publisher")).sentBytes - before).toBeLessThanOrEqual(1.05 * BYTES);
  });

  test("take little more when one that fetches is killed half-way", {
    timeout: WITHIN_MS,
  }, async () => {
    const version = await published("killed");
    const before = await sent();
    const had = await Promise.all(COLD.map(async (host) => (await transfers(host)).originBytes));
    const staging = stage("killed", COLD);
    await half(before);
    const brought = await Promise.all(
      COLD.map(async (host, i) => (await transfers(host)).originBytes - (had[i] ?? 0)),
    );
    const dead = COLD[brought.indexOf(Math.max(...brought))] ?? "";
    daemons.kill(dead);
    alive = COLD.filter((host) => host !== dead);
    const placed = (host: string) =>
      daemons
        .status<{ holdings: { manifestHash: string; active: boolean }[] }>(host)
        .then(({ holdings }) =>
          holdings.some((h) => h.manifestHash === version.manifestHash && h.active),
        );
    await daemons.until("all that live have it", async () =>
      (await Promise.all(alive.map(placed))).every(Boolean),
    );
    await expectWhole(version, "killed.bin", alive);
    expect((await sent()) - before).toBeLessThanOrEqual(1.15 * BYTES);
    void staging;
  });

  test("end with an error that says what to do when the origin goes half-way", {
    timeout: WITHIN_MS,
  }, async () => {
    await published("gone");
    const before = await sent();
    const staging = stage("gone", alive);
    await half(before);
    await origin.stop();
    const { exit, errors, stdout } = await staging;
    expect(exit).not.toBe(0);
    expect(errors + stdout).toContain(`127.0.0.1:${port}`);
    expect(errors + stdout).toContain("UNAVAILABLE");
    expect(errors + stdout).toMatch(/publish it|bring a holder back/i);
  });
});

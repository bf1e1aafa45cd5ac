/**
 * The main job on a network: a coordinator and six agents, each on an address of its own, driven
 * with the commands. Then what is gone: the coordinator, an agent, an agent in mid-transfer.
 */
import { hash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AuditRow, AuditView } from "../../shared/api.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { bytesOnDisk } from "../support/bytes-on-disk.ts";
import { makeTestCa } from "../support/certs.ts";
import { type Answer, NamespacedFleet, until } from "../support/namespaced-fleet.ts";
import { namespaceObstacle } from "../support/namespaces.ts";

const HOSTS = Array.from({ length: 6 }, (_, i) => `host-${i + 1}`);
const [H1, H2, H3, H4, H5, H6] = HOSTS as [string, string, string, string, string, string];
/** Has an address, but is no member. */
const STRANGER = "host-7";
const MIB = 1 << 20;
const DATA_BYTES = 100 * MIB;
const KILLS = 20;
const LEASE_MS = 3_000;

const obstacle = namespaceObstacle();
if (obstacle && process.env.CI === "true") throw new Error(`namespaces: ${obstacle}`);

/** Answers with what it has of its data, so that a wrong byte would be seen. */
const SERVER = `
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
const [port, dir] = process.argv.slice(2);
const digest = createHash("sha256").update(readFileSync(dir + "/data.bin")).digest("hex");
createServer((_, response) => response.end(digest)).listen(Number(port), "127.0.0.1");
`;

const figures: string[] = [];
const note = (line: string) => figures.push(line);
let dir: string;
let fleet: NamespacedFleet;
const digests = new Map<string, string>();

/** Publishes 100 MB of new data as data@VERSION from a host. */
async function publish(version: string, host: string): Promise<string> {
  const folder = join(dir, `data-${version}`);
  await mkdir(join(folder, "part"), { recursive: true });
  const whole = randomBytes(DATA_BYTES - 10 * MIB);
  await writeFile(join(folder, "data.bin"), whole);
  await writeFile(join(folder, "part", "rest.bin"), randomBytes(10 * MIB));
  digests.set(version, await treeDigest(folder));
  digests.set(`${version}/data.bin`, hash("sha256", whole, "hex"));
  const args = ["publish", folder, "--name", "data", "--version", version];
  return (await fleet.json<{ manifestHash: string }>(args, { host })).manifestHash;
}

async function treeDigest(folder: string): Promise<string> {
  const names = ["data.bin", join("part", "rest.bin")];
  const parts = await Promise.all(names.map((name) => readFile(join(folder, name))));
  return parts.map((bytes) => hash("sha256", bytes, "hex")).join();
}

const treeOf = (host: string, manifestHash: string) =>
  join(fleet.dataDir(host), "mesh", "trees", manifestHash);

async function holding(host: string, manifestHash: string) {
  const status = await fleet.agentIfUp(host);
  return status?.holdings.find((h) => h.manifestHash === manifestHash) ?? null;
}

async function expectWhole(hosts: readonly string[], version: string, manifestHash: string) {
  for (const host of hosts)
    expect(await treeDigest(treeOf(host, manifestHash)), `${version} on ${host}`).toBe(
      digests.get(version),
    );
}

/** What of a version the disk of a host really holds, hashed here. */
async function heldOnDisk(host: string, manifestHash: string): Promise<number> {
  const root = join(fleet.dataDir(host), "mesh");
  const text = await readFile(join(root, "manifests", `${manifestHash}.json`), "utf8");
  return bytesOnDisk(join(root, "partial", manifestHash), JSON.parse(text));
}

/** Asks all these routers again and again until stopped; gives every answer that was not 200. */
function keepAsking(hosts: readonly string[]) {
  const wrong: string[] = [];
  let asked = 0;
  let slowestMs = 0;
  let stopped = false;
  const running = hosts.map(async (host) => {
    while (!stopped) {
      const startMs = systemClock.monotonic();
      const answer = await fleet.ask(host, "/echo/again").catch(String);
      slowestMs = Math.max(slowestMs, systemClock.monotonic() - startMs);
      asked++;
      if (!isRight(answer)) wrong.push(`${host}: ${JSON.stringify(answer)}`);
      await systemClock.sleep(100);
    }
  });
  return async () => {
    stopped = true;
    await Promise.all(running);
    return { asked, wrong, slowest: ms(slowestMs) };
  };
}

/** A host with an environment that serves, and one without. */
async function oneServingOneNot(): Promise<[string, string][]> {
  const statuses = await Promise.all(HOSTS.map((host) => fleet.agent(host)));
  const serves = statuses.map((s) => s.environments.some((e) => e.verdict?.passed));
  const serving = HOSTS.filter((_, i) => serves[i]);
  const idle = HOSTS.filter((_, i) => !serves[i]);
  note(`serving: ${serving}`);
  return [
    ["an idle", idle[0] ?? H3],
    ["a serving", serving[0] ?? H3],
  ];
}

const isRight = (answer: Answer | string) =>
  typeof answer !== "string" && answer.status === 200 && answer.body === digests.get("v1/data.bin");

/** Waits for a line of the audit trail, whose chain must hold. */
async function refused(what: string, is: (row: AuditRow) => boolean): Promise<void> {
  let rows: AuditRow[] = [];
  const found = async () => {
    const view = await fleet.json<AuditView>(["audit", "--limit", "200", "--verify"]);
    rows = view.rows.filter((row) => row.outcome === "refused");
    return rows.some(is);
  };
  await until(`an audit line: ${what}`, found, { withinMs: 60_000 }).catch((cause: unknown) => {
    const seen = rows.map((r) => `${r.action} ${r.object} ${JSON.stringify(r.detail)}`);
    throw new Error(`${what}: not among ${seen.join("\n")}`, { cause });
  });
}

async function allConnected(): Promise<boolean> {
  const hosts = await fleet.hosts().catch(() => []);
  return hosts.filter((h) => h.connected).length === HOSTS.length;
}

describe.skipIf(obstacle !== null)(
  `six hosts in namespaces${obstacle ? ` (${obstacle})` : ""}`,
  {
    timeout: 300_000,
  },
  () => {
    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), "prestage-namespaces-"));
      fleet = await NamespacedFleet.open({
        dir,
        hosts: [...HOSTS, STRANGER],
        coordinator: {
          plan: { tickMs: 500 },
          qos: {
            peakCpu: 1,
            stagingBytesPerSecond: 200e6,
            perHostBytesPerSecond: 100e6,
            floorBytesPerSecond: 8e6,
            leaseMs: LEASE_MS,
          },
        },
      });
      await fleet.startCoordinator();
    });

    afterAll(async () => {
      if (figures.length > 0) process.stdout.write(`namespaces:\n  ${figures.join("\n  ")}\n`);
      await fleet.close();
      await rm(dir, { recursive: true, force: true });
    });

    test("join with a one-use token each, and say where their routers are", async () => {
      const join = async (host: string) => fleet.join(host, await fleet.joinToken("--host", host));
      for (const joined of await Promise.all(HOSTS.map(join)))
        expect(joined).toMatchObject({ exit: 0 });
      await Promise.all(HOSTS.map((host) => fleet.startAgent(host)));
      note(`six agents started and connected: ${ms(await until("all connected", allConnected))}`);
      const routers = (await fleet.hosts()).map((h) => h.routerUrl).sort();
      expect(routers).toEqual(HOSTS.map((host) => fleet.routerUrl(host)).sort());
    });

    test("a published version is whole on all (100 MB, stage --hosts all --wait)", async () => {
      const v1 = await publish("v1", H1);
      const startMs = systemClock.monotonic();
      await fleet.json(["stage", "data@v1", "--hosts", "all", "--wait", "--timeout", "100s"]);
      note(`stage 100 MB to five more hosts: ${ms(systemClock.monotonic() - startMs)}`);
      await expectWhole(HOSTS, "v1", v1);
      const statuses = await Promise.all(HOSTS.map((host) => fleet.agent(host)));
      const transfers = statuses.map((s) => s.transfers);
      note(`bytes from peers: ${transfers.map((t) => t.peerBytes).join(", ")}`);
      note(`bytes sent: ${transfers.map((t) => t.sentBytes).join(", ")}`);
      expect(transfers.map((t) => t.refetchedChunks)).toEqual(HOSTS.map(() => 0));
      expect(transfers.map((t) => t.corruptChunks)).toEqual(HOSTS.map(() => 0));
    });

    test("a request is answered through every router", async () => {
      const code = join(dir, "code");
      await mkdir(code);
      await writeFile(join(code, "server.mjs"), SERVER);
      await fleet.json(["publish", code, "--name", "code", "--version", "1"], { host: H2 });
      const workload = {
        name: "echo",
        mode: "act",
        match: { pathPrefix: "/echo/" },
        artifacts: [
          { name: "code", version: "1", kind: "code", as: "code" },
          { name: "data", version: "v1", kind: "data", as: "data" },
        ],
        environment: {
          command: [process.execPath, "{artifact:code}/server.mjs", "{port}", "{artifact:data}"],
        },
      };
      const file = join(dir, "workloads.yaml");
      await writeFile(file, JSON.stringify({ workloads: [workload] }));
      await fleet.json(["apply", "-f", file]);
      await until("the first request is answered", async () =>
        isRight(await fleet.ask(H1, "/echo/first").catch(String)),
      );
      for (const host of HOSTS)
        await until(`${host} routes to a warm environment`, async () => {
          const answer = await fleet.ask(host, "/echo/next");
          expect(isRight(answer), JSON.stringify(answer)).toBe(true);
          return answer.outcome === "hit";
        });
    });

    test("who may not join is refused, with an audit line (no token, expired, used)", async () => {
      const { status } = await fleet.knock("/api/v1/enroll", { method: "POST", body: {} });
      expect(status).toBe(400);
      await refused("no token", (r) => r.object === "/api/v1/enroll");

      const expired = await fleet.joinToken("--ttl", "1s");
      await systemClock.sleep(1_100);
      const used = await fleet.joinToken();
      expect(await fleet.join(STRANGER, used)).toMatchObject({ exit: 0 });
      for (const [host, token, reason] of [
        ["late", expired, "expired"],
        ["second", used, "used"],
      ] as const) {
        const { exit, stderr, stdout } = await fleet.join(host, token, STRANGER);
        expect(exit).toBe(3);
        expect(stderr + stdout).toContain("TOKEN_REFUSED");
        await refused(
          reason,
          (r) => r.action === "host.enroll" && r.object === host && r.detail.reason === reason,
        );
      }
    });

    test("who may not connect is refused, with an audit line (no certificate, another CA)", async () => {
      expect(await fleet.knock("/v1/agent", { upgrade: true })).toEqual({
        status: 401,
        code: "UNAUTHENTICATED",
      });
      const client = await (await makeTestCa("fleet")).agent(H1);
      expect(await fleet.knock("/v1/agent", { upgrade: true, client })).toEqual({
        status: 401,
        code: "UNAUTHENTICATED",
      });
      for (const reason of ["no certificate", "another CA"])
        await refused(reason, (r) => r.action === "agent.connect" && r.detail.reason === reason);
    });

    test("a revoked agent is cut off and refused by the coordinator and the mesh", async () => {
      await fleet.startAgent(STRANGER);
      await until("it is connected", async () => {
        const found = (await fleet.hosts()).find((h) => h.host === STRANGER);
        return found?.connected === true;
      });
      const { peerId } = await fleet.agent(STRANGER);
      await fleet.json(["hosts", "revoke", STRANGER]);
      await until("it is cut off", async () => !(await fleet.agent(STRANGER)).connected);
      await fleet.kill(STRANGER);
      await fleet.startAgent(STRANGER);
      await refused(
        "revoked at the coordinator",
        (r) => r.action === "agent.connect" && r.detail.code === "REVOKED",
      );
      await refused(
        "revoked in the mesh",
        (r) => r.action === "mesh.connect" && r.object === peerId,
      );
      await fleet.kill(STRANGER);
    });

    test("an unenrolled libp2p peer is refused, with an audit line", async () => {
      const peerId = await fleet.startUnenrolledPeer(STRANGER, H1);
      await refused("unenrolled", (r) => r.action === "mesh.connect" && r.object === peerId);
      await fleet.kill("unenrolled");
    });

    test("the API answers 401 without a token and 403 to a viewer that writes", async () => {
      expect(await fleet.knock("/api/v1/status")).toMatchObject({ status: 401 });
      await refused("no API token", (r) => r.object === "/api/v1/status");
      const args = ["token", "create", "reader", "--role", "viewer"];
      const { token: bearer } = await fleet.json<{ token: string }>(args);
      expect(await fleet.knock("/api/v1/status", { bearer })).toMatchObject({ status: 200 });
      const write = { method: "POST", body: {}, bearer };
      expect(await fleet.knock("/api/v1/pause", write)).toEqual({ status: 403, code: "FORBIDDEN" });
      await refused(
        "a viewer's write",
        (r) => r.object === "/api/v1/pause" && r.actor === "user:reader",
      );
    });

    test("without the coordinator, requests and chunk swaps go on; it is back in 10 s", async () => {
      const v2 = await publish("v2", H2);
      await fleet.limit(H6, 100);
      await fleet.json(["stage", "data@v2", "--hosts", `${H5},${H6}`]);
      await until(
        "the slow host has begun",
        async () => ((await holding(H6, v2))?.bytesHave ?? 0) > 0,
        {
          everyMs: 20,
        },
      );
      await fleet.killCoordinator();
      const have = (await holding(H6, v2))?.bytesHave ?? 0;
      expect(have).toBeLessThan(DATA_BYTES);
      await until("what it was told is on its disk", async () => {
        const told = await readFile(join(fleet.dataDir(H6), "last-known.json"), "utf8");
        return told.includes(v2);
      });
      await fleet.kill(H6);
      await fleet.startAgent(H6);
      const stop = keepAsking(HOSTS.filter((host) => host !== H6));
      const swapMs = await until("what was ordered arrives", async () => {
        const both = await Promise.all([holding(H5, v2), holding(H6, v2)]);
        return both.every((h) => h?.active);
      });
      note(`coordinator dead: ${mb(DATA_BYTES - have)} swapped in ${ms(swapMs)}`);
      expect(swapMs).toBeGreaterThan(LEASE_MS);
      await expectWhole([H5, H6], "v2", v2);
      const { asked, wrong } = await stop();
      note(`coordinator dead: ${asked} requests, ${wrong.length} not answered rightly`);
      expect(wrong).toEqual([]);
      await fleet.limit(H6, null);

      for (const [what, host] of await oneServingOneNot()) {
        const others = keepAsking(HOSTS.filter((h) => h !== host));
        await fleet.kill(host);
        await systemClock.sleep(1_000);
        await fleet.startAgent(host);
        const routesMs = await until("the restarted agent routes", async () =>
          isRight(await fleet.ask(host, "/echo/back").catch(String)),
        );
        const { asked, wrong, slowest } = await others();
        note(`${what} agent killed and restarted without a coordinator: routes ${ms(routesMs)}`);
        note(
          `meanwhile through the others: ${asked} requests, ${wrong.length} not right, slowest ${slowest}`,
        );
        expect(routesMs).toBeLessThan(30_000);
        expect(wrong).toEqual([]);
      }

      const startMs = systemClock.monotonic();
      await fleet.startCoordinator();
      const servesMs = systemClock.monotonic() - startMs;
      await until("reconciled", async () => {
        const hosts = await fleet.hosts().catch(() => []);
        const holders = hosts.filter((h) =>
          h.holdings.some((a) => a.ref.version === "v2" && a.active),
        );
        const known = new Set(holders.map((h) => h.host));
        return (await allConnected()) && [H2, H5, H6].every((h) => known.has(h));
      });
      const reconciledMs = systemClock.monotonic() - startMs;
      await fleet.json(["stage", "data@v2", "--hosts", H1]);
      await until("a new order is taken", async () => (await holding(H1, v2)) !== null);
      const orderMs = systemClock.monotonic() - startMs;
      note(`coordinator back: serves ${ms(servesMs)}, reconciled ${ms(reconciledMs)}`);
      note(`coordinator back: new order at an agent ${ms(orderMs)}`);
      expect(orderMs).toBeLessThan(10_000);
    });

    test("no verified chunk is fetched twice, nothing corrupt is activated (kill -9 20 times)", async () => {
      const random = seededRandom(`kills ${process.env.PRESTAGE_SEED ?? "1"}`);
      const v3 = await publish("v3", H1);
      await fleet.limit(H4, 24);
      await fleet.json(["stage", "data@v3", "--hosts", H4]);
      let onDisk = 0;
      // The first life has got other versions before.
      let fetched = 0;
      let { peerBytes: before, refetchedChunks } = (await fleet.agent(H4)).transfers;
      let unwritten = 0;
      const waits: number[] = [];
      for (let life = 1; life <= KILLS; life++) {
        if (life > 1) await fleet.startAgent(H4);
        waits.push(
          await until(
            "bytes move",
            async () => {
              const status = await fleet.agentIfUp(H4);
              const have = status?.holdings.find((h) => h.manifestHash === v3)?.bytesHave ?? 0;
              return have > onDisk && (status?.transfers.peerBytes ?? 0) > 0;
            },
            { everyMs: 20 },
          ),
        );
        await systemClock.sleep(random.next() * 300);
        const last = await fleet.agent(H4);
        await fleet.kill(H4);
        expect(await readdir(join(fleet.dataDir(H4), "mesh", "trees"))).not.toContain(v3);
        expect(last.transfers).toMatchObject({ refetchedChunks, corruptChunks: 0 });
        const now = await heldOnDisk(H4, v3);
        const got = last.transfers.peerBytes - before;
        [before, refetchedChunks] = [0, 0];
        fetched += got;
        unwritten += Math.max(0, got - (now - onDisk));
        expect(now).toBeGreaterThan(onDisk);
        onDisk = now;
      }
      expect(onDisk).toBeLessThan(DATA_BYTES);
      await fleet.limit(H4, null);
      await fleet.startAgent(H4);
      await until("it is whole", async () => (await holding(H4, v3))?.active === true);
      const { transfers } = await fleet.agent(H4);
      fetched += transfers.peerBytes;
      note(
        `killed ${KILLS} times at ${mb(onDisk)}; first bytes of a life after ${waits.map(ms).join(" ")}`,
      );
      note(`fetched by all lives ${mb(fetched)}, of which lost in a kill ${mb(unwritten)}`);
      expect(transfers).toMatchObject({ refetchedChunks: 0, corruptChunks: 0 });
      expect(transfers.peerBytes).toBe(DATA_BYTES - onDisk);
      expect(fetched).toBeLessThanOrEqual(DATA_BYTES + unwritten);
      expect(unwritten).toBeLessThanOrEqual(KILLS * 2 * MIB);
      await expectWhole([H4], "v3", v3);
    });
  },
);

const ms = (value: number) => `${(value / 1000).toFixed(1)} s`;
const mb = (bytes: number) => `${(bytes / MIB).toFixed(1)} MiB`;

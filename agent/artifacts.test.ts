import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PrestageError } from "../shared/errors.ts";
import { silentLog } from "../shared/runtime/log.ts";
import { Workload } from "../shared/workload.ts";
import { SimulatedClock } from "../test/support/clock.ts";
import { Artifacts } from "./artifacts.ts";
import { LastKnown } from "./persisted.ts";

const workload = Workload.parse({
  name: "maps",
  match: { pathPrefix: "/" },
  artifacts: [
    { name: "server", version: "1", kind: "code", as: "code" },
    { name: "tiles-{category}", tag: "latest", kind: "data", as: "tiles" },
  ],
  environment: { command: ["serve"] },
});
let dir: string;
let clock: SimulatedClock;
let connected: boolean;
let asked: string[];
let artifacts: Artifacts;
let active: Set<string>;
let pinned: Set<string>;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "prestage-artifacts-"));
  clock = new SimulatedClock();
  connected = true;
  asked = [];
  active = new Set();
  pinned = new Set();
  artifacts = new Artifacts({
    clock,
    log: silentLog,
    lastKnown: new LastKnown(dir, silentLog),
    ask: async (name, version, tag, { timeoutMs }) => {
      asked.push(`${name} ${version ?? tag} ${timeoutMs}`);
      if (!connected) throw new PrestageError("TIMEOUT", "away");
      return { ref: { name, version: version ?? "9" }, manifestHash: `hash of ${name}` };
    },
    connected: () => connected,
    ensure: async (hash) => `/trees/${hash}`,
    pin: (hash) => pinned.add(hash),
    unpin: (hash) => pinned.delete(hash),
    markUsed: async () => {},
    active: (hash) => active.has(hash),
  });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const staging = { foreground: true, priority: 1, signal: new AbortController().signal };

test("artifacts: what was prepared is staged without the coordinator, and without asking it", async () => {
  await artifacts.prepare([{ workload, category: "eu" }]);
  expect(asked).toEqual(["server 1 30000", "tiles-eu latest 30000"]);
  connected = false;
  await clock.advance(3_600_000);
  expect(await artifacts.stage(workload, "eu", staging)).toEqual({
    code: "/trees/hash of server",
    tiles: "/trees/hash of tiles-eu",
  });
  expect(asked).toHaveLength(2);
});

test("artifacts: what is not known is not waited for long (coordinator away)", async () => {
  connected = false;
  await expect(artifacts.stage(workload, "eu", staging)).rejects.toMatchObject({ code: "TIMEOUT" });
  expect(asked[0]).toBe("server 1 3000");
});

test("artifacts: what could not be prepared is asked again, but not at once", async () => {
  connected = false;
  await artifacts.prepare([{ workload, category: "eu" }]);
  await artifacts.prepare([{ workload, category: "eu" }]);
  expect(asked).toHaveLength(2);
  connected = true;
  await clock.advance(10_000);
  await artifacts.prepare([{ workload, category: "eu" }]);
  expect(asked).toHaveLength(4);
});

test("artifacts: a tag is asked again when its answer is old (coordinator there)", async () => {
  for (let i = 0; i < 3; i++) await artifacts.resolve("tiles-eu", { tag: "latest" });
  expect(asked).toHaveLength(1);
  await clock.advance(10_000);
  await artifacts.resolve("tiles-eu", { tag: "latest" });
  expect(asked).toHaveLength(2);
});

test("artifacts: a moved tag calls for another environment once it is here, not before", async () => {
  await artifacts.stage(workload, "eu", staging);
  expect(artifacts.superseded(workload, "eu")).toBe(false);
  const code = { ref: { name: "server", version: "1" }, manifestHash: "hash of server" };
  const moved = { ref: { name: "tiles-eu", version: "10" }, manifestHash: "hash of 10" };
  artifacts.told(workload, "eu", [code, moved]);
  active.add("hash of server");
  expect(artifacts.superseded(workload, "eu")).toBe(false);
  active.add("hash of 10");
  expect(artifacts.superseded(workload, "eu")).toBe(true);
  const paths = await artifacts.stage(workload, "eu", staging);
  expect(paths.tiles).toBe("/trees/hash of 10");
  expect(artifacts.superseded(workload, "eu")).toBe(false);
});

test("artifacts: an old version is kept while an environment of it is ending, then let go", async () => {
  await artifacts.stage(workload, "eu", staging);
  const moved = { ref: { name: "tiles-eu", version: "10" }, manifestHash: "hash of 10" };
  artifacts.told(workload, "eu", [moved]);
  await artifacts.stage(workload, "eu", staging);
  const key = new Set(["maps/eu"]);
  artifacts.keepOnly(key, key);
  expect([...pinned].sort()).toEqual(["hash of 10", "hash of server", "hash of tiles-eu"]);
  artifacts.keepOnly(key, new Set());
  expect([...pinned].sort()).toEqual(["hash of 10", "hash of server"]);
  artifacts.keepOnly(new Set(), new Set());
  expect([...pinned]).toEqual([]);
});

import { hash } from "node:crypto";
import { mkdir, mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { SimulatedClock } from "../../test/support/clock.ts";
import { type Disk, nodeDisk } from "./store/disk.ts";
import { Provenance } from "./store/provenance.ts";
import { Scrubber } from "./store/scrubber.ts";
import { storeAt, version, WISH } from "./store/store.fixture.ts";
import type { Store } from "./store/store.ts";

const TEXTS = ["one", "two", "three"];
const DAY_MS = 86_400_000;
const { signal } = new AbortController();
const { signed, manifest } = version({ x: TEXTS }, "one");
let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prestage-bad-disk-"));
});
afterEach(() => nodeDisk.rm(dir, { recursive: true, force: true }));

async function put(store: Store, texts: readonly string[]): Promise<void> {
  for (const text of texts)
    await store.writeChunk(hash("sha256", text, "hex"), Buffer.from(text), WISH);
}

/** A store with a whole version. */
async function held(disk: Disk, clock: SimulatedClock): Promise<Store> {
  const store = storeAt(dir, disk, { clock });
  await store.open();
  const tree = await store.add(signed, manifest, WISH);
  await put(store, TEXTS);
  await store.activate(tree);
  return store;
}

type Call = (name: string, args: unknown[]) => void;

/** Every call on an open file is shown to `before`, which may throw instead. */
function diskWith(before: Call): Disk {
  const open: Disk["open"] = async (...given) => {
    const file = await nodeDisk.open(...given);
    return new Proxy(file, {
      get: (target, name) => {
        const method = Reflect.get(target, name);
        if (typeof method !== "function") return method;
        return async (...args: unknown[]) => {
          before(String(name), args);
          return method.apply(target, args);
        };
      },
    });
  };
  return Object.assign({ ...nodeDisk }, { open });
}

const failure = (code: string) => Object.assign(new Error(code), { code });

/** Reading from an offset fails until it is written. */
function withBadSector(sector: { at: number | null }): Disk {
  return diskWith((name, args) => {
    if (sector.at === null || args[3] !== sector.at) return;
    if (name === "read") throw failure("EIO");
    if (name === "write") sector.at = null;
  });
}

test("scrubber: what the disk cannot read any more is found and written anew", async () => {
  const clock = new SimulatedClock(0);
  const sector: { at: number | null } = { at: null };
  const store = await held(withBadSector(sector), clock);
  sector.at = TEXTS[0]?.length ?? 0;
  const repair = async () => {
    const tree = store.get(signed.hash);
    expect(tree?.have.count).toBe(2);
    await put(store, TEXTS);
    if (tree) await store.activate(tree);
  };
  const deps = { clock, log: silentLog, metrics: new Metrics(), store, repair, busy: () => false };
  const scrubber = new Scrubber(deps, { dir, passMs: 1, bytesPerSecondMax: 1e9 });
  for (let i = 0; i < 3; i++) await scrubber.tick(signal);
  expect(scrubber.state()).toMatchObject({ found: 1, repaired: 1 });
  expect(sector.at).toBe(null);
  expect(await readFile(join(dir, "trees", signed.hash, "x"), "utf8")).toBe(TEXTS.join(""));
  await store.close();
});

test("scrubber and provenance: go on when nothing can be written down (a full disk)", async () => {
  const clock = new SimulatedClock(0);
  const store = await held(nodeDisk, clock);
  const gone = join(dir, "gone");
  const repair = async () => null;
  const deps = { clock, log: silentLog, metrics: new Metrics(), store, repair, busy: () => false };
  const scrubber = new Scrubber(deps, { dir: gone, passMs: 1, bytesPerSecondMax: 1e9 });
  for (let i = 0; i < 3; i++) await scrubber.tick(signal);
  const provenance = new Provenance({ clock, log: silentLog }, gone);
  provenance.received(signed.hash, "host-2", 7);
  await provenance.save(() => true);
  await mkdir(gone);
  await clock.advance(10_000);
  await provenance.save(() => true);
  const again = new Provenance({ clock, log: silentLog }, gone);
  await again.load();
  expect(again.of(signed.hash).sources).toEqual([{ from: "host-2", bytes: 7 }]);
  await store.close();
});

test("store: uses are counted on when the clock was set back", async () => {
  const store = await held(nodeDisk, new SimulatedClock(400 * DAY_MS));
  await store.noteUsed(signed.hash);
  await store.close();
  const back = storeAt(dir, nodeDisk, { clock: new SimulatedClock(DAY_MS) });
  await back.open();
  const path = join(dir, "meta", `${signed.hash}.json`);
  const before = JSON.parse(await readFile(path, "utf8"));
  await back.noteUsed(signed.hash);
  const after = JSON.parse(await readFile(path, "utf8"));
  expect(after.usage.count).toBeCloseTo(before.usage.count + 1);
  expect(after.usage.countedMs).toBe(DAY_MS);
  await back.close();
});

test("store: a start on a full disk knows what is here and what never came", async () => {
  const clock = new SimulatedClock(0);
  const store = storeAt(dir, nodeDisk, { clock });
  await store.open();
  await store.add(signed, manifest, WISH);
  await put(store, TEXTS.slice(0, 2));
  const full = diskWith((name) => {
    if (name === "write" || name === "writeFile") throw failure("ENOSPC");
  });
  for (const disk of [full, nodeDisk]) {
    const after = storeAt(dir, disk, { clock });
    await after.open();
    const tree = after.get(signed.hash);
    expect(tree?.chunks.map((_, i) => tree.have.has(i))).toEqual([true, true, false]);
    await after.close();
  }
  const reads: unknown[] = [];
  const looked = diskWith((name, args) => {
    if (name === "read") reads.push(args[3]);
  });
  const last = storeAt(dir, looked, { clock });
  await last.open();
  expect(last.get(signed.hash)?.have.count).toBe(2);
  expect(reads).toEqual([]);
  await last.close();
  await store.close();
});

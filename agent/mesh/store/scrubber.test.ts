import { randomBytes } from "node:crypto";
import { chmod, open, readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { silentLog } from "../../../shared/runtime/log.ts";
import { Metrics } from "../../../shared/runtime/metrics.ts";
import { SimulatedClock } from "../../../test/support/clock.ts";
import { TestFleet, type TestHost, until, writeTree } from "../mesh.fixture.ts";
import { Scrubber } from "./scrubber.ts";

let fleet = new TestFleet();
afterEach(async () => {
  await fleet.close();
  fleet = new TestFleet();
});

const MIB = 1 << 20;
const DAY = 86_400_000;
const ask = { priority: 1, foreground: true, signal: new AbortController().signal };

function scrubberOf(host: TestHost, over: Partial<ConstructorParameters<typeof Scrubber>[0]> = {}) {
  const { mesh } = host;
  return new Scrubber(
    {
      clock: systemClock,
      log: silentLog,
      metrics: new Metrics(),
      store: mesh.store,
      repair: (hash, signal) => mesh.ensure(hash, { ...ask, signal, use: false }),
      busy: () => false,
      ...over,
    },
    { dir: host.dir, passMs: 1, bytesPerSecondMax: 1e12 },
  );
}

async function flip(path: string, offset: number): Promise<void> {
  await chmod(path, 0o644);
  const file = await open(path, "r+");
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  byte[0] = (byte[0] ?? 0) ^ 0x10;
  await file.write(byte, 0, 1, offset);
  await file.close();
}

/** Two hosts that hold a version of three files. */
async function held() {
  const [a, b] = [await fleet.start("a"), await fleet.start("b")];
  fleet.enrol([a, b]);
  const files = {
    "big.bin": randomBytes(12 * MIB),
    "sub/other.bin": randomBytes(6 * MIB),
    "small.txt": randomBytes(3_000),
  };
  const dir = await fleet.folder();
  await writeTree(dir, files);
  const signed = await fleet.publish(a, dir);
  await until(() => b.mesh.connectedHosts().length === 1);
  const root = await b.mesh.ensure(signed.hash, ask);
  return { a, b, files, root, hash: signed.hash };
}

async function same(root: string, files: Record<string, Uint8Array>): Promise<boolean> {
  for (const [path, bytes] of Object.entries(files))
    if (!(await readFile(join(root, path))).equals(bytes)) return false;
  return true;
}

describe("scrubber", () => {
  test("finds flipped bits and truncated files, and has them fetched anew (while it runs)", async () => {
    const { b, files, root, hash } = await held();
    const scrubber = scrubberOf(b);
    const stopping = new AbortController();
    const running = scrubber.run(stopping.signal);
    for (const at of [0, 1_234_567, 5 * MIB, 9 * MIB + 7, 12 * MIB - 1])
      await flip(join(root, "big.bin"), at);
    await chmod(join(root, "sub/other.bin"), 0o644);
    await truncate(join(root, "sub/other.bin"), 4 * MIB);
    await flip(join(root, "small.txt"), 2_999);
    await until(() => (scrubber.state()?.repaired ?? 0) > 0 && b.mesh.path(hash) !== null);
    await expect.poll(() => same(root, files), { timeout: 60_000, interval: 200 }).toBe(true);
    const { found, repaired } = scrubber.state() ?? {};
    expect(repaired).toBe(found);
    expect(found).toBeGreaterThan(6);
    stopping.abort();
    await running;
  });

  test("what cannot be repaired now is said, and repaired when a holder is back", async () => {
    const { a, b, files, root } = await held();
    const clock = new SimulatedClock(0);
    let isAway = true;
    const scrubber = scrubberOf(b, {
      clock,
      repair: async (hash, signal) => {
        if (isAway) throw new Error("nobody has it");
        return b.mesh.ensure(hash, { ...ask, signal, use: false });
      },
    });
    await flip(join(root, "big.bin"), 77);
    const { signal } = new AbortController();
    const tick = async (times: number) => {
      for (let i = 0; i < times; i++) await scrubber.tick(signal);
    };
    await tick(4);
    expect(scrubber.state()).toMatchObject({ found: 1, repaired: 0 });
    isAway = false;
    await clock.advance(30_000);
    await tick(1);
    expect(scrubber.state()).toMatchObject({ found: 1, repaired: 1 });
    expect(await same(root, files)).toBe(true);
    expect(a.mesh.holdings()).toHaveLength(1);
  });

  test("reads no faster than it may, and not at all while the host is busy", async () => {
    const { b } = await held();
    const clock = new SimulatedClock(0);
    let busy = true;
    const metrics = new Metrics();
    const deps = { clock, log: silentLog, metrics, store: b.mesh.store, busy: () => busy };
    const options = { dir: b.dir, passMs: 7 * DAY, bytesPerSecondMax: 500_000 };
    const scrubber = new Scrubber({ ...deps, repair: async () => null }, { ...options, passMs: 1 });
    const read = async () =>
      Number(/prestage_scrub_bytes_total (\d+)/.exec(await metrics.text())?.[1] ?? 0);
    const { signal } = new AbortController();
    for (let i = 0; i < 10; i++) await scrubber.tick(signal);
    expect(await read()).toBe(0);
    busy = false;
    for (let i = 0; i < 10; i++) await scrubber.tick(signal);
    expect(await read()).toBeGreaterThan(0);
    expect(await read()).toBeLessThanOrEqual(5_000_000);
  });

  test("a pass takes its days (18 MB in seven)", async () => {
    const { b } = await held();
    const clock = new SimulatedClock(0);
    const metrics = new Metrics();
    const deps = { clock, log: silentLog, metrics, store: b.mesh.store, busy: () => false };
    const options = { dir: b.dir, passMs: 7 * DAY, bytesPerSecondMax: 5e6 };
    const scrubber = new Scrubber({ ...deps, repair: async () => null }, options);
    const { signal } = new AbortController();
    for (let i = 0; i < 3_600; i++) await scrubber.tick(signal);
    const text = await metrics.text();
    const read = Number(/prestage_scrub_bytes_total (\d+)/.exec(text)?.[1] ?? 0);
    const share = (18 * MIB) / (7 * 24);
    expect(read).toBeLessThan(share * 2 + 256 * 1_024);
  });
});

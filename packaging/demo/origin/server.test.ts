import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { originServer, parseRange, STATS_PATH } from "./server.ts";
import { Uplink } from "./uplink.ts";

describe("uplink", () => {
  test("carries no more than its rate and a burst (any slices)", () => {
    const slice = fc.record({ bytes: fc.integer({ min: 1, max: 100_000 }), gapMs: fc.nat(50) });
    fc.assert(
      fc.property(fc.array(slice, { minLength: 1, maxLength: 100 }), (slices) => {
        const uplink = new Uplink(1_000_000, { burstMs: 50 });
        let nowMs = 0;
        let sent = 0;
        let lastSendMs = 0;
        for (const { bytes, gapMs } of slices) {
          nowMs += gapMs;
          const sendMs = nowMs + uplink.take(bytes, nowMs);
          expect(sendMs).toBeGreaterThanOrEqual(lastSendMs);
          lastSendMs = sendMs;
          sent += bytes;
          expect(sent).toBeLessThanOrEqual((sendMs + 50) * 1_000 + 1e-6);
        }
      }),
    );
  });
});

describe("origin", () => {
  let folder: string;
  let server: Server;
  let url: string;
  const text = "0123456789".repeat(20_000);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "prestage-origin-"));
    await writeFile(join(folder, "data.bin"), text);
    server = originServer({ clock: systemClock }, { root: folder, bytesPerSecond: 1e6 });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    server.close();
    server.closeAllConnections();
    await rm(folder, { recursive: true });
  });

  test("gives whole files and ranges", async () => {
    const whole = await fetch(`${url}/data.bin`);
    expect(await whole.text()).toBe(text);
    const part = await fetch(`${url}/data.bin`, { headers: { range: "bytes=5-14" } });
    expect([part.status, part.headers.get("content-range")]).toEqual([206, "bytes 5-14/200000"]);
    expect(await part.text()).toBe("5678901234");
  });

  test.each([
    ["/nothing", undefined, 404],
    ["/%2e%2e/%2e%2e/etc/passwd", undefined, 404],
    ["/data.bin", "bytes=200000-", 416],
  ])("refuses %s with range %s as %d", async (path, range, status) => {
    const answer = await fetch(url + path, range ? { headers: { range } } : {});
    expect(answer.status).toBe(status);
  });

  test("shares its uplink among connections, and counts", async () => {
    const before = (await (await fetch(url + STATS_PATH)).json()) as { bytes: number };
    const startMs = systemClock.monotonic();
    await Promise.all([1, 2].map(async () => (await fetch(`${url}/data.bin`)).arrayBuffer()));
    // 400 kB at 1 MB/s, less the burst.
    expect(systemClock.monotonic() - startMs).toBeGreaterThan(300);
    const after = (await (await fetch(url + STATS_PATH)).json()) as { bytes: number };
    expect(after.bytes - before.bytes).toBe(400_000);
  });

  test.each([
    [undefined, null],
    ["bytes=0-0", { from: 0, to: 0 }],
    ["bytes=-3", { from: 7, to: 9 }],
    ["bytes=4-", { from: 4, to: 9 }],
    ["bytes=4-400", { from: 4, to: 9 }],
    ["bytes=10-", "unsatisfiable"],
    ["bytes=-0", "unsatisfiable"],
    ["bytes=5-4", null],
    ["bytes=0-1,3-4", null],
    ["items=0-1", null],
  ])("range %s of ten bytes is %j", (header, expected) => {
    expect(parseRange(header, 10)).toEqual(expected);
  });
});

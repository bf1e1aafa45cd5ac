import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { HostSample } from "../../shared/domain.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { HostSampler } from "./host.ts";

test("host: samples are valid, of this machine, and rates are of the period", async () => {
  let requests = 100;
  const sampler = new HostSampler(
    {
      clock: systemClock,
      demandClock: systemClock,
      log: silentLog,
      metrics: new Metrics(),
      requests: () => requests,
      rates: () => ({ peerBytesPerSecond: 5, originBytesPerSecond: 6 }),
      agentBytes: () => 7,
    },
    { dataDir: tmpdir(), periodMs: 50 },
  );
  expect(sampler.latest().atMs).toBe(0);
  const stop = new AbortController();
  const running = sampler.run(stop.signal);
  const samples: HostSample[] = [];
  await new Promise<void>((resolve) => {
    sampler.onSample((sample) => {
      samples.push(sample);
      requests += 10;
      if (samples.length === 4) resolve();
    });
  });
  stop.abort();
  await running;
  for (const sample of samples) expect(HostSample.safeParse(sample).success).toBe(true);
  const last = sampler.latest();
  expect(last).toMatchObject({ peerBytesPerSecond: 5, originBytesPerSecond: 6, agentBytes: 7 });
  expect(last.memoryBytes).toBeGreaterThan(2 ** 28);
  expect(last.memoryFreeBytes).toBeLessThan(last.memoryBytes);
  expect(last.diskFreeBytes).toBeGreaterThan(0);
  expect(last.requestsPerSecond).toBeGreaterThan(0);
});

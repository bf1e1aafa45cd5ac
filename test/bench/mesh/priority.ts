/**
 * Classes and budgets on the wire, with real agents on shaped links:
 * node test/bench/mesh/priority.ts [MBIT] [MIB]
 * An urgent `get` alone, and again while two hosts stage as fast as they may; then staging within a
 * budget a host, and the most that came to each host in any second of it, all headers included.
 */
import { systemClock } from "../../../shared/runtime/clock.ts";
import { until } from "../../support/namespaced-fleet.ts";
import { BenchFleet, MIB } from "./bench-fleet.ts";

const [linkMbit = 200, mib = 128] = process.argv.slice(2).map(Number);
const BUDGET = 5e6;
const SAMPLE_MS = 20;
const say = (line: string) => process.stdout.write(`${line}\n`);

async function get(bench: BenchFleet, name: string): Promise<number> {
  const startMs = systemClock.monotonic();
  await bench.fleet.json(["get", `${name}@1`], { host: "a" });
  return systemClock.monotonic() - startMs;
}

async function urgent(): Promise<void> {
  const bench = await BenchFleet.open({ hosts: ["seed", "a", "b"], linkMbit });
  try {
    for (const name of ["one", "two", "three"]) await bench.publish(name, mib);
    const { manifestHash } = await bench.publish("bulk", 8 * mib);
    await get(bench, "one");
    const aloneMs = await get(bench, "two");
    await bench.fleet.json(["stage", "bulk@1", "--hosts", "a,b"]);
    await until("staging runs", async () => {
      const { holdings } = await bench.fleet.agent("b");
      return holdings.some((h) => h.manifestHash === manifestHash && h.bytesHave > 8 * MIB);
    });
    const loadedMs = await get(bench, "three");
    const { holdings } = await bench.fleet.agent("a");
    const staged = holdings.find((h) => h.manifestHash === manifestHash);
    const rate = (ms: number) => `${((mib * 1000) / ms).toFixed(1)} MiB/s`;
    say(
      `urgent ${mib} MiB at ${linkMbit} Mbit/s: alone ${rate(aloneMs)}, while two hosts stage ` +
        `${rate(loadedMs)}: ${(aloneMs / loadedMs).toFixed(3)} of it` +
        `${staged?.active ? " (staging had ended: take more)" : ""}`,
    );
  } finally {
    await bench.close();
  }
}

async function budgets(): Promise<void> {
  const hosts = ["a", "b"];
  const qos = { perHostBytesPerSecond: BUDGET, stagingBytesPerSecond: 2 * BUDGET };
  const bench = await BenchFleet.open({ hosts: ["seed", ...hosts], linkMbit, qos });
  try {
    await bench.publish("payload", 96);
    const idle = await most(bench, hosts, 3_000);
    await bench.fleet.json(["stage", "payload@1", "--hosts", hosts.join()]);
    const seen = await most(bench, hosts, 15_000);
    const share = (bytes: number) => `${((100 * bytes) / BUDGET).toFixed(1)} %`;
    say(`most in any second of a budget of ${BUDGET / 1e6} MB/s a host, and on average:`);
    for (const host of hosts) {
      const { max, mean } = seen.get(host) ?? { max: 0, mean: 0 };
      const other = idle.get(host)?.mean ?? 0;
      say(`  ${host}: ${share(max)}, ${share(mean)}; ${(other / 1e3).toFixed(0)} kB/s when idle`);
    }
  } finally {
    await bench.close();
  }
}

/** Of what came to each host: the most in any second, and the mean of a second. */
async function most(bench: BenchFleet, hosts: readonly string[], forMs: number) {
  const seen = new Map<string, { max: number; mean: number }>();
  await Promise.all(
    hosts.map(async (host) => {
      const samples: { atMs: number; bytes: number }[] = [];
      const endMs = systemClock.monotonic() + forMs;
      while (systemClock.monotonic() < endMs) {
        const bytes = await bench.fleet.receivedBytes(host);
        samples.push({ atMs: systemClock.monotonic(), bytes });
        await systemClock.sleep(SAMPLE_MS);
      }
      let [max, first] = [0, 0];
      for (const last of samples) {
        while (last.atMs - (samples[first]?.atMs ?? 0) > 1_000) first++;
        max = Math.max(max, last.bytes - (samples[first]?.bytes ?? 0));
      }
      const [begin, end] = [samples[0], samples.at(-1)];
      const bytes = (end?.bytes ?? 0) - (begin?.bytes ?? 0);
      seen.set(host, { max, mean: (bytes * 1000) / forMs });
    }),
  );
  return seen;
}

await urgent();
await budgets();

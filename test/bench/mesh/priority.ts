/**
 * An urgent transfer beside saturating staging, with real agents and commands on shaped links:
 * node test/bench/mesh/priority.ts [MBIT] [MIB] [HOSTS] [--other]
 * One host gets a version alone, and again while HOSTS hosts, itself among them, stage as fast as
 * they may. The seed of both is one host; with `--other` the version comes from a host of its own.
 */
import { parseArgs } from "node:util";
import { callAgent } from "../../../agent/cli/local.ts";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { until } from "../../support/namespaced-fleet.ts";
import { BenchFleet, MIB } from "./bench-fleet.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { other: { type: "boolean", default: false } },
});
const [linkMbit = 200, mib = 128, count = 4] = positionals.map(Number);
const ROUNDS = 3;
const GET_MS_MAX = 120_000;
const staging = Array.from({ length: count }, (_, i) => `h${i + 1}`);
const [urgent = "h1"] = staging;
const from = values.other ? "other" : "seed";
const say = (line: string) => process.stdout.write(`${line}\n`);

/** How long the agent takes to have a version whole, asked as the command asks. */
async function get(bench: BenchFleet, name: string): Promise<number> {
  const startMs = systemClock.monotonic();
  const body = { name, version: "1", tag: null };
  const signal = AbortSignal.timeout(GET_MS_MAX);
  const operation = { method: "POST", path: "/get", body } as const;
  await callAgent(bench.fleet.dataDir(urgent), operation, { signal });
  return systemClock.monotonic() - startMs;
}

const rate = (ms: number) => `${((mib * 1000) / ms).toFixed(1)} MiB/s`;
const hosts = values.other ? ["seed", "other", ...staging] : ["seed", ...staging];
const bench = await BenchFleet.open({ hosts, linkMbit });
try {
  const names = Array.from({ length: ROUNDS }, (_, i) => [`alone${i}`, `loaded${i}`]).flat();
  for (const name of ["first", ...names]) await bench.publish(name, mib, from);
  const bulkMib = Math.ceil((linkMbit / 8) * 40);
  const { manifestHash } = await bench.publish("bulk", Math.min(8192, bulkMib));
  await get(bench, "first");
  const alone: number[] = [];
  for (let i = 0; i < ROUNDS; i++) alone.push(await get(bench, `alone${i}`));
  await bench.fleet.json(["stage", "bulk@1", "--hosts", staging.join()]);
  const staged = async (host: string) => {
    const { holdings } = await bench.fleet.agent(host);
    return holdings.find((h) => h.manifestHash === manifestHash);
  };
  await until("staging runs", async () => {
    const all = await Promise.all(staging.map(staged));
    return all.every((h) => (h?.bytesHave ?? 0) > 16 * MIB);
  });
  const loaded: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    await systemClock.sleep(1_500);
    loaded.push(await get(bench, `loaded${i}`));
  }
  const over = (await staged(urgent))?.active ? "; staging had ended: take more" : "";
  const least = Math.min(...alone);
  const shares = loaded.map((ms) => (least / ms).toFixed(3)).join(" ");
  say(
    `urgent ${mib} MiB from ${from} at ${linkMbit} Mbit/s: alone ${alone.map(rate).join(", ")}; ` +
      `while ${count} hosts stage ${loaded.map(rate).join(", ")}: ${shares} of the best${over}`,
  );
} finally {
  await bench.close();
}

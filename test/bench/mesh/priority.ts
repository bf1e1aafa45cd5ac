/**
 * An urgent transfer beside saturating staging, with real agents and commands on shaped links:
 * node test/bench/mesh/priority.ts [MBIT] [MIB] [HOSTS] [--rounds N] [--other]
 * In each round one host gets a version while staging is paused, and another one while HOSTS hosts,
 * itself among them, stage as fast as they may. The seed of both is one host; with `--other` the
 * version comes from a host of its own. A round counts only when the seed's link was full of
 * staging as the request began, and all hosts still had to stage when it ended.
 */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { callAgent } from "../../../agent/cli/local.ts";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { median } from "../../support/median.ts";
import { until } from "../../support/namespaced-fleet.ts";
import { BenchFleet } from "./bench-fleet.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { other: { type: "boolean", default: false }, rounds: { type: "string", default: "5" } },
});
const [linkMbit = 200, mib = 64, count = 4] = positionals.map(Number);
const rounds = Number(values.rounds);
const ATTEMPTS_MAX = 3 * rounds;
const GET_MS_MAX = 120_000;
/** The link is looked at for so long; it is full at this part of its rate, and quiet at that. */
const LOOK_MS = 400;
const FULL_SHARE = 0.75;
const QUIET_SHARE = 0.02;
/** What staging takes of its links in a round, at most. */
const ROUND_SECONDS = 6;
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

/** What the seed sends now, as a part of its link. */
async function sending(bench: BenchFleet): Promise<number> {
  const file = bench.fleet.counterOf("seed", "sent");
  const look = async () => ({
    bytes: Number(await readFile(file, "utf8")),
    atMs: systemClock.monotonic(),
  });
  const before = await look();
  await systemClock.sleep(LOOK_MS);
  const after = await look();
  return ((after.bytes - before.bytes) * 8) / (after.atMs - before.atMs) / (linkMbit * 1e3);
}

type Round = { aloneMs: number; loadedMs: number; full: number };

/** Null when it does not count: there was no saturating staging beside the request. */
async function round(bench: BenchFleet, i: number, bulk: string): Promise<Round | null> {
  await bench.fleet.json(["pause"]);
  await until("staging pauses", async () => (await sending(bench)) < QUIET_SHARE);
  const aloneMs = await get(bench, `alone${i}`);
  await bench.fleet.json(["resume"]);
  let full = 0;
  await until("staging fills the link", async () => {
    full = await sending(bench);
    return full > FULL_SHARE;
  });
  const loadedMs = await get(bench, `loaded${i}`);
  const views = await Promise.all(staging.map((host) => bench.fleet.agent(host)));
  const ended = views.some((v) => v.holdings.find((h) => h.manifestHash === bulk)?.active);
  const alone = ((mib * 1000) / aloneMs).toFixed(1);
  const loaded = ((mib * 1000) / loadedMs).toFixed(1);
  say(
    `  alone ${alone} MiB/s; while the seed sends ${(100 * full).toFixed(0)} % of its link ` +
      `${loaded} MiB/s: ${(aloneMs / loadedMs).toFixed(3)}${ended ? ", not counted" : ""}`,
  );
  return ended ? null : { aloneMs, loadedMs, full };
}

const hosts = values.other ? ["seed", "other", ...staging] : ["seed", ...staging];
const bench = await BenchFleet.open({ hosts, linkMbit });
try {
  await bench.publish("first", mib, from);
  const bulkMib = Math.min(8192, Math.ceil((linkMbit / 8) * ROUND_SECONDS * rounds));
  const { manifestHash } = await bench.publish("bulk", bulkMib);
  await get(bench, "first");
  await bench.fleet.json(["stage", "bulk@1", "--hosts", staging.join()]);
  const counted: Round[] = [];
  for (let i = 0; counted.length < rounds && i < ATTEMPTS_MAX; i++) {
    for (const name of [`alone${i}`, `loaded${i}`]) await bench.publish(name, mib, from);
    const one = await round(bench, i, manifestHash);
    if (one) counted.push(one);
  }
  const shares = counted.map(({ aloneMs, loadedMs }) => aloneMs / loadedMs);
  const typical = median(counted.map((r) => r.aloneMs)) / median(counted.map((r) => r.loadedMs));
  say(
    `urgent ${mib} MiB from ${from} at ${linkMbit} Mbit/s while ${count} hosts stage, relative to ` +
      `alone: median ${median(shares).toFixed(3)}, worst ${Math.min(...shares).toFixed(3)}, ` +
      `of the medians ${typical.toFixed(3)} (${counted.length} rounds)`,
  );
} finally {
  await bench.close();
}

/**
 * A version from one seed to N hosts, each in a network namespace on a link of its own, with the
 * real agents and commands: node test/bench/mesh/swarm.ts HOSTS MBIT MIB [--peer TOOL] [--profile]
 * Prints the last host's time over payload/rate, and the same of a peer on the same links.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { BenchFleet, MIB } from "./bench-fleet.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    peer: { type: "string", multiple: true, default: [] },
    /** Folder with the peers' `bench`. */
    peers: { type: "string", default: "../shared/peers/mesh" },
    /** Lets the agents end by themselves: with NODE_OPTIONS=--cpu-prof they write profiles. */
    profile: { type: "boolean", default: false },
  },
});
const [count = 8, linkMbit = 200, mib = 256] = positionals.map(Number);
const limitMs = (mib * MIB * 8) / (linkMbit * 1e3);
const say = (line: string) => process.stdout.write(`${line}\n`);
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

async function ours(): Promise<void> {
  const receivers = Array.from({ length: count }, (_, i) => `h${i + 1}`);
  const bench = await BenchFleet.open({ hosts: ["seed", ...receivers], linkMbit });
  try {
    const { file, manifestHash } = await bench.publish("payload", mib);
    const cpuBefore = bench.cpuSeconds();
    const startMs = systemClock.monotonic();
    const doneMs = new Map<string, number>();
    const watching = new AbortController();
    const watched = watch(receivers, doneMs, watching.signal, (host) =>
      existsSync(join(bench.fleet.dataDir(host), "mesh", "trees", manifestHash)),
    );
    const args = ["stage", "payload@1", "--hosts", receivers.join(), "--wait"];
    await bench.fleet.json([...args, "--timeout", "10m"]);
    const commandMs = systemClock.monotonic() - startMs;
    watching.abort();
    await watched;
    const cpu = bench.cpuSeconds() - cpuBefore;
    await bench.compare(file, manifestHash, receivers);
    const times = [...doneMs.values()].map((at) => at - startMs).sort((a, b) => a - b);
    const lastMs = times.at(-1) ?? commandMs;
    const seed = (await bench.fleet.agent("seed")).transfers;
    const what = `${count} hosts, ${mib} MiB at ${linkMbit} Mbit/s`;
    say(
      `prestage: ${what}: last host ${seconds(lastMs)}, limit ${seconds(limitMs)}, ` +
        `ratio ${(lastMs / limitMs).toFixed(2)}`,
    );
    say(
      `  first host ${seconds(times[0] ?? 0)}, command ${seconds(commandMs)}, ` +
        `seed sent ${(seed.sentBytes / (mib * MIB)).toFixed(2)} × the payload, ` +
        `CPU ${cpu.toFixed(1)} s (${((cpu * 1e9) / (count * mib * MIB)).toFixed(1)} ns a byte)`,
    );
    if (values.profile) await bench.stopAgents();
  } finally {
    await bench.close();
  }
}

async function watch(
  hosts: readonly string[],
  doneMs: Map<string, number>,
  signal: AbortSignal,
  isDone: (host: string) => boolean,
): Promise<void> {
  while (doneMs.size < hosts.length) {
    for (const host of hosts)
      if (!doneMs.has(host) && isDone(host)) doneMs.set(host, systemClock.monotonic());
    if (signal.aborted) return;
    await systemClock.sleep(20);
  }
}

await ours();
for (const peer of values.peer) {
  const bench = resolve(values.peers, "bench");
  const args = [peer, count, linkMbit, mib].map(String);
  const { status, stdout, stderr } = spawnSync(bench, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${peer}: ${stderr}`);
  say(stdout.trim());
}

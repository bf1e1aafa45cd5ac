/**
 * Peers that lie, among honest ones, over the real mesh on loopback: how long the honest hosts take
 * for a version relative to the same hosts without the liars, in one run; how many wrong chunks
 * they took before the liars were cut off. Each host is held to MIB_PER_S, so that this machine is
 * not what is measured.
 * node test/bench/mesh/liars.ts [HONEST] [LIARS] [MIB] [MIB_PER_S] [ROUNDS]
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { lyingFleet } from "../../support/lying-fleet.ts";
import { median } from "../../support/median.ts";

const [honest = 8, liars = 2, mib = 64, rate = 6, rounds = 3] = process.argv.slice(2).map(Number);

async function run(how: string, liarCount: number) {
  const fleet = await lyingFleet({
    honest,
    liars: liarCount,
    how,
    bytes: mib << 20,
    rate: rate * 2 ** 20,
  });
  try {
    const tookMs = await fleet.fetchAll();
    const sums = await Promise.all(
      fleet.honest.map(async ({ mesh }) => {
        const path = join(mesh.path(fleet.signed.hash) ?? "", "a/big.bin");
        return createHash("sha256")
          .update(await readFile(path))
          .digest("hex");
      }),
    );
    const counters = fleet.honest.map(({ mesh }) => mesh.counters());
    const sum = (of: (c: (typeof counters)[number]) => number) =>
      counters.reduce((total, c) => total + of(c), 0);
    return {
      tookMs,
      corrupt: sum((c) => c.corruptChunks),
      cutOff: sum((c) => c.shunnedPeers),
      refetched: sum((c) => c.refetchedChunks),
      different: new Set(sums).size,
    };
  } finally {
    await fleet.close();
  }
}

const seconds = (ms = 0) => (ms / 1000).toFixed(1);
const say = (text: string) => process.stdout.write(`${text}\n`);
say(
  `${honest} honest fetchers and a seeder, ${liars} liars that hold everything, ${mib} MiB, ${rate} MiB/s`,
);
for (const how of ["bytes", "length", "refuse"]) {
  const pairs: { alone: number; among: Awaited<ReturnType<typeof run>> }[] = [];
  for (let i = 0; i < rounds; i++)
    pairs.push({ alone: (await run(how, 0)).tookMs, among: await run(how, liars) });
  const ratios = pairs.map(({ alone, among }) => among.tookMs / alone);
  const last = pairs.at(-1);
  say(
    `${how.padEnd(7)} × ${median(ratios).toFixed(2)} of honest-only ` +
      `(${ratios.map((r) => r.toFixed(2)).join(", ")}; the last ${seconds(last?.among.tookMs)} to ` +
      `${seconds(last?.alone)} s); in it ${last?.among.corrupt} wrong ` +
      `chunks refused, ${last?.among.cutOff} times cut off, ${last?.among.refetched} fetched twice, ` +
      `${last?.among.different} content on disk`,
  );
}

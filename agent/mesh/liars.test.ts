import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { lyingFleet } from "../../test/support/lying-fleet.ts";
import { runSwarm } from "../../test/support/simulated-swarm.ts";

const MIB = 1 << 20;

describe("mesh: a fifth of the peers lies (16 honest hosts, simulated links)", () => {
  const base = { honest: 16, chunks: 256, chunkBytes: MIB, bytesPerSecond: 25e6 };
  const ratioOf = (lie: "bytes" | "refuse" | "silent", seed: string) => {
    const alone = runSwarm({ ...base, lie, seed, liars: 0 });
    const among = runSwarm({ ...base, lie, seed, liars: 4 });
    return { ratio: among.lastMs / alone.lastMs, ...among };
  };

  test.each(["1", "2"])("wrong bytes cost next to nothing (seed %s)", (seed) => {
    const { ratio, wrong, cutOff } = ratioOf("bytes", seed);
    expect(ratio).toBeLessThan(1.3);
    expect(cutOff).toBe(16 * 4);
    expect(wrong).toBeLessThanOrEqual(16 * 4 * 4);
  });

  test.each(["1", "2"])("nor do false holdings (seed %s)", (seed) => {
    const { ratio, cutOff } = ratioOf("refuse", seed);
    expect(ratio).toBeLessThan(1.3);
    expect(cutOff).toBe(16 * 4);
  });

  test("who never answers holds nobody up for long", () => {
    expect(ratioOf("silent", "1").ratio).toBeLessThan(1.5);
  });
});

describe("mesh: lying peers over real connections", () => {
  test.each(["bytes", "length", "refuse"])(
    "no wrong byte is stored or activated, and liars are cut off (%s)",
    async (how) => {
      const fleet = await lyingFleet({ honest: 3, liars: 1, how, bytes: 24 * MIB, rate: 1e12 });
      try {
        await fleet.fetchAll();
        const digests = await Promise.all(
          [fleet.seeder, ...fleet.honest].map(async ({ mesh }) => {
            const path = join(mesh.path(fleet.signed.hash) ?? "", "a/big.bin");
            return createHash("sha256")
              .update(await readFile(path))
              .digest("hex");
          }),
        );
        expect(new Set(digests).size).toBe(1);
        const accused = fleet.honest.flatMap(({ mesh }) => mesh.liars().map((l) => l.host));
        if (how !== "refuse") expect(new Set(accused)).toEqual(new Set(["liar0"]));
      } finally {
        await fleet.close();
      }
    },
  );
});

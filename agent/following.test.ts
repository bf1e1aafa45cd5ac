import { describe, expect, test } from "vitest";
import { PrestageError } from "../shared/errors.ts";
import { createLog } from "../shared/runtime/log.ts";
import { seededRandom } from "../shared/runtime/random.ts";
import { SimulatedClock } from "../test/support/clock.ts";
import { Following } from "./following.ts";
import { versionOf } from "./publishing.ts";

const order = { name: "app", tag: "main", url: "https://x/app", everyMs: 60_000, revision: null };

/** A source whose revision the test sets, and what was published and tagged. */
async function started(options: { published?: string[]; connected?: boolean } = {}) {
  const clock = new SimulatedClock();
  const world = {
    revision: "r1" as string | PrestageError,
    connected: options.connected ?? true,
    looks: 0,
    did: [] as string[],
  };
  const stopping = new AbortController();
  const following = new Following({
    clock,
    random: seededRandom(1),
    log: createLog({ name: "t", level: "silent" }),
    sources: {
      revision: async () => {
        world.looks++;
        if (world.revision instanceof PrestageError) throw world.revision;
        return world.revision;
      },
    },
    publishing: {
      fromUrl: async (_url, { name, tags }) => {
        const revision = String(world.revision);
        world.did.push(`publish ${tags} ${revision}`);
        const version = versionOf(revision);
        const none = { bytes: 0, chunks: 0 };
        const novelty = { all: none, toName: none, toHost: none };
        const store = { logicalBytes: 1, usedBytes: 1 };
        const about = { name, version, manifestHash: "", tags, bytes: 1, files: 1, revision };
        return { ...about, novelty, store };
      },
    },
    connected: () => world.connected,
    moveTag: async ({ version }, tag) => {
      const known = options.published?.includes(version) ?? false;
      if (known) world.did.push(`tag ${tag} ${version}`);
      return known;
    },
  });
  const running = following.run(stopping.signal);
  const stop = async () => {
    stopping.abort();
    await clock.advance(1);
    await running;
  };
  return { clock, world, following, stop };
}

describe("following: a tag", () => {
  test("is published at once, then only when its source changes", async () => {
    const { clock, world, following, stop } = await started();
    following.set([order]);
    await clock.advance(1_000);
    expect(world.did).toEqual(["publish main r1"]);
    await clock.advance(200_000);
    expect([world.looks, world.did.length]).toEqual([4, 1]);
    world.revision = "r2";
    await clock.advance(61_000);
    expect(world.did.at(-1)).toBe("publish main r2");
    expect(following.states()).toMatchObject([{ revision: "r2", failures: 0, code: null }]);
    await stop();
  });

  test("is not published again by who takes over (the coordinator says what it means)", async () => {
    const { clock, world, following, stop } = await started();
    following.set([{ ...order, revision: "r1" }]);
    await clock.advance(1_000);
    expect([world.looks, world.did]).toEqual([1, []]);
    await stop();
  });

  test("moves to a version that is published already (a source that went back)", async () => {
    const { clock, world, following, stop } = await started({ published: [versionOf("r1")] });
    following.set([{ ...order, revision: "r2" }]);
    await clock.advance(1_000);
    expect(world.did).toEqual([`tag main ${versionOf("r1")}`]);
    await stop();
  });

  test("is looked at later and later while that fails, and keeps what it meant", async () => {
    const { clock, world, following, stop } = await started();
    following.set([order]);
    await clock.advance(1_000);
    world.revision = new PrestageError("FORBIDDEN", "no s3cret here");
    const counts: number[] = [];
    for (let hour = 0; hour < 6; hour++) {
      const before = world.looks;
      await clock.advance(3_600_000);
      counts.push(world.looks - before);
    }
    expect(counts[0]).toBeGreaterThan(3);
    expect(counts.at(-1)).toBe(1);
    expect(following.states()).toMatchObject([{ code: "FORBIDDEN", revision: "r1" }]);
    world.revision = "r1";
    await clock.advance(3_700_000);
    expect(following.states()).toMatchObject([{ failures: 0, code: null, message: null }]);
    await stop();
  });

  test("is left alone while the coordinator is away, and when it is somebody else's", async () => {
    const { clock, world, following, stop } = await started({ connected: false });
    following.set([order]);
    await clock.advance(100_000);
    expect(world.looks).toBe(0);
    world.connected = true;
    following.set([]);
    await clock.advance(100_000);
    expect([world.looks, following.states()]).toEqual([0, []]);
    await stop();
  });
});

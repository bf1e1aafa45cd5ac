import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createLog } from "../shared/runtime/log.ts";
import { SimulatedClock } from "../test/support/clock.ts";
import { temporaryDir } from "../test/support/servers.ts";
import { FAILOVER_MS } from "./follow/assign.ts";
import { Following } from "./following.ts";
import { Store } from "./store/store.ts";

const wish = { name: "app", tag: "main", url: "https://x.example/app", everyMs: 60_000 };
const seen = { ...wish, lookedMs: 5, failures: 0, code: null, message: null };
let folder: Awaited<ReturnType<typeof temporaryDir>>;
let store: Store;
beforeEach(async () => {
  folder = await temporaryDir();
  store = Store.open(folder.dir);
});
afterEach(async () => {
  store.close();
  await folder[Symbol.asyncDispose]();
});

async function started(live: string[]) {
  const clock = new SimulatedClock(1_000);
  const stopping = new AbortController();
  const following = new Following({
    clock,
    log: createLog({ name: "t", level: "silent" }),
    store,
    live: () => live,
    changed: () => {},
  });
  const running = following.run(stopping.signal);
  await clock.advance(1);
  const stop = async () => {
    stopping.abort();
    await clock.advance(1);
    await running;
  };
  return { clock, following, live, stop };
}

describe("following: the list", () => {
  test("is kept with who looks and what was last seen, over a restart", async () => {
    const first = await started(["a"]);
    await first.following.add(wish, "user:me");
    expect(first.following.ordersFor("a")).toEqual([{ ...wish, revision: null }]);
    await first.following.reported("a", [{ ...seen, revision: "r1", version: "v1" }]);
    await first.stop();
    const again = await started(["b", "a"]);
    expect(again.following.ordersFor("b")).toEqual([]);
    expect(again.following.ordersFor("a")).toEqual([{ ...wish, revision: "r1" }]);
    expect(again.following.list().follows).toMatchObject([
      { host: "a", version: "v1", addedBy: "user:me", state: "pending" },
    ]);
    await again.stop();
  });

  test("hands on what a lost host looked after, with the revision it had seen", async () => {
    const { clock, following, live, stop } = await started(["a"]);
    await following.add(wish, "user:me");
    await following.reported("a", [{ ...seen, revision: "r1", version: "v1" }]);
    live.splice(0, 1, "b");
    await clock.advance(FAILOVER_MS + 2_000);
    expect(following.ordersFor("b")).toEqual([{ ...wish, revision: "r1" }]);
    await stop();
  });

  test("takes no word from a host that does not look after it, or of another URL", async () => {
    const { following, stop } = await started(["a"]);
    await following.add(wish, "user:me");
    await following.reported("b", [{ ...seen, revision: "r1", version: "v1" }]);
    await following.reported("a", [{ ...seen, url: "https://y/", revision: "r1", version: "v1" }]);
    expect(following.list().follows).toMatchObject([{ state: "pending", revision: null }]);
    await stop();
  });

  test("begins anew with another URL, and ends with the removal", async () => {
    const { following, stop } = await started(["a"]);
    await following.add(wish, "user:me");
    await following.reported("a", [{ ...seen, revision: "r1", version: "v1" }]);
    await following.add({ ...wish, everyMs: 5_000 }, "user:me");
    expect(following.ordersFor("a")).toEqual([{ ...wish, everyMs: 5_000, revision: "r1" }]);
    await following.add({ ...wish, url: "https://y.example/" }, "user:me");
    expect(following.ordersFor("a")).toMatchObject([{ revision: null }]);
    await following.remove(wish);
    expect([following.ordersFor("a"), store.follows.all()]).toEqual([[], []]);
    await expect(following.remove(wish)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await stop();
  });

  test.each([
    ["USAGE", { url: "https://me:s3cret@x.example/" }],
    ["USAGE", { url: "gopher://x.example/" }],
    ["FORBIDDEN", { name: "prestage-affinity" }],
  ])("refuses with %s: %j", async (code, over) => {
    const { following, stop } = await started(["a"]);
    await expect(following.add({ ...wish, ...over }, "me")).rejects.toMatchObject({ code });
    await stop();
  });
});

import { describe, expect, test } from "vitest";
import { temporaryDir } from "../../test/support/servers.ts";
import type { StoredEvent } from "./signals.ts";
import { Store } from "./store.ts";

const event = (id: string, startMs: number, more: object = {}): StoredEvent => ({
  id,
  startMs,
  endMs: startMs + 100,
  body: { id, startMs, ...more },
});
const all = { fromMs: 0, toMs: 1e15, limit: 1_000 };

describe("store: signals", () => {
  test("a copy is the last one kept, also after a restart", async () => {
    await using folder = await temporaryDir();
    const copy = {
      body: Buffer.from([0, 1, 255]),
      etag: "e",
      lastModified: null,
      address: "https://x/…",
      fetchedMs: 5,
    };
    const store = Store.open(folder.dir);
    await store.signals.keepCopy("a", { ...copy, etag: "old" });
    await store.signals.keepCopy("a", copy);
    store.close();
    const again = Store.open(folder.dir);
    expect(again.signals.copy("a")).toEqual({ ...copy, body: new Uint8Array(copy.body) });
    expect(again.signals.copy("b")).toBeNull();
    again.close();
  });

  test("posted events: new, the same, changed (another time too), too many, taken back", async () => {
    await using folder = await temporaryDir();
    const store = Store.open(folder.dir);
    const { signals } = store;
    const post = (...events: StoredEvent[]) => signals.post("a", events, 3);
    expect(await post(event("1", 10), event("2", 20))).toEqual({
      added: 2,
      changed: 0,
      unchanged: 0,
    });
    expect(await post(event("1", 10), event("2", 50))).toEqual({
      added: 0,
      changed: 1,
      unchanged: 1,
    });
    expect(signals.events("a", all).map((e) => e.startMs)).toEqual([10, 50]);
    expect(await post(event("3", 30), event("4", 40))).toBeNull();
    expect(signals.events("a", all).length).toBe(2);
    expect(await signals.remove("a", ["1", "9"])).toBe(1);
    expect(signals.events("a", all)).toEqual([event("2", 50)]);
    store.close();
  });

  test("events are found by time, and forgotten with their time or their source", async () => {
    await using folder = await temporaryDir();
    const store = Store.open(folder.dir);
    const { signals } = store;
    await signals.remember("a", [event("1", 100), event("1", 300), event("2", 500)]);
    await signals.remember("b", [event("1", 500)]);
    const found = (fromMs: number, toMs: number) =>
      signals.events("a", { ...all, fromMs, toMs }).map((e) => e.startMs);
    expect(found(200, 300)).toEqual([100]);
    expect(found(201, 301)).toEqual([300]);
    await signals.prune(300, new Set(["a"]));
    expect(found(0, 1_000)).toEqual([300, 500]);
    expect(signals.events("b", all)).toEqual([]);
    store.close();
  });
});

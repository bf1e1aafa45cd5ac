import { beforeEach, describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { CALM, LossyNetwork } from "./network.ts";
import { EventQueue } from "./queue.ts";

let queue: EventQueue;
let network: LossyNetwork;
beforeEach(() => {
  queue = new EventQueue();
  network = new LossyNetwork(queue, seededRandom(1));
});
const run = (ms: number) => queue.run(queue.now() + ms, () => {});
const sides = (...nodes: string[]) => new Map(nodes.map((node) => [node, 1]));

describe("datagrams", () => {
  test("are lost, doubled and overtake one another as the weather says", async () => {
    network.weather = { ...CALM, drop: 0.2, duplicate: 0.2, jitterMs: 20 };
    const seen: number[] = [];
    for (let i = 0; i < 1000; i++) network.datagram("a", "b", () => seen.push(i));
    await run(1000);
    const once = new Set(seen);
    expect(once.size).toBeGreaterThan(700);
    expect(once.size).toBeLessThan(900);
    expect(seen.length - once.size).toBeGreaterThan(100);
    expect(seen).not.toEqual(seen.toSorted((a, b) => a - b));
  });

  test("do not cross a partition, not even those under way", async () => {
    const seen: string[] = [];
    network.datagram("a", "b", () => seen.push("under way"));
    network.partition(sides("b"));
    network.datagram("a", "b", () => seen.push("after"));
    network.datagram("a", "c", () => seen.push("same side"));
    await run(1000);
    expect(seen).toEqual(["same side"]);
  });
});

describe("connections", () => {
  test("keep order, whatever the delays", async () => {
    network.weather = { ...CALM, jitterMs: 50 };
    const pipe = network.connect("a", "b");
    const seen: number[] = [];
    for (let i = 0; i < 200; i++) pipe?.send("b", () => seen.push(i));
    await run(10_000);
    expect(seen).toEqual(Array.from({ length: 200 }, (_, i) => i));
  });

  test("lose what is under way when they break, and tell each end once", async () => {
    const pipe = network.connect("a", "b");
    const seen: string[] = [];
    if (pipe) pipe.onClose = { a: () => seen.push("a closed"), b: () => seen.push("b closed") };
    pipe?.send("b", () => seen.push("arrived"));
    network.crash("a");
    pipe?.cut();
    await run(10_000);
    expect(seen.toSorted()).toEqual(["a closed", "b closed"]);
    expect(network.connections).toBe(0);
  });

  test("deliver what was sent before a close, and only then tell the other end", async () => {
    const pipe = network.connect("a", "b");
    const seen: string[] = [];
    if (pipe) pipe.onClose = { a: () => seen.push("a closed"), b: () => seen.push("b closed") };
    pipe?.send("b", () => seen.push("goodbye"));
    pipe?.close("a");
    await run(10_000);
    expect(seen).toEqual(["goodbye", "b closed"]);
  });

  test("are not made across a partition, and broken by one", async () => {
    const pipe = network.connect("a", "b");
    network.partition(sides("b"));
    expect(pipe?.open).toBe(false);
    expect(network.connect("a", "b")).toBeNull();
    network.heal();
    expect(network.connect("a", "b")).not.toBeNull();
  });
});

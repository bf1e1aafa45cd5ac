import { expect, test } from "vitest";
import { SimulatedClock } from "../../../test/support/clock.ts";
import type { Frame } from "./frames.ts";
import { Haves } from "./haves.ts";

const M = "a".repeat(64);

function fixture() {
  const clock = new SimulatedClock();
  const sent: [string, Frame][] = [];
  const deaf = new Set<string>();
  const exchange = {
    tell: (host: string, frame: Frame) => {
      if (deaf.has(host)) return false;
      sent.push([host, frame]);
      return true;
    },
  };
  const haves = new Haves({ clock, exchange });
  const stop = new AbortController();
  return { clock, sent, deaf, haves, stop, running: haves.run(stop.signal) };
}

test("haves: a unit is told at once, what comes within some milliseconds of it in one frame a host", async () => {
  const { clock, sent, haves, stop, running } = fixture();
  haves.tell({ id: M, unit: 3, hosts: ["a"] });
  await clock.advance(1);
  expect(sent).toEqual([["a", { type: "have", manifest: M, units: [3] }]]);
  haves.tell({ id: M, unit: 4, hosts: ["a", "b"] });
  await clock.advance(4);
  haves.tell({ id: M, unit: 5, hosts: ["a"] });
  expect(sent.length).toBe(1);
  await clock.advance(100);
  expect(sent.slice(1)).toEqual([
    ["a", { type: "have", manifest: M, units: [4, 5] }],
    ["b", { type: "have", manifest: M, units: [4] }],
  ]);
  await clock.advance(1_000);
  expect(sent.length).toBe(3);
  stop.abort();
  await clock.advance(100);
  await running;
});

test("haves: a host that cannot be told yet is told later, one that went is forgotten", async () => {
  const { clock, sent, deaf, haves } = fixture();
  deaf.add("a").add("b");
  haves.tell({ id: M, unit: 1, hosts: ["a", "b"] });
  await clock.advance(1_000);
  expect(sent).toEqual([]);
  haves.forget("b");
  deaf.clear();
  await clock.advance(1_000);
  expect(sent).toEqual([["a", { type: "have", manifest: M, units: [1] }]]);
});

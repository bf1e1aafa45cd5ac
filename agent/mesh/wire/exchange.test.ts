import { expect, test } from "vitest";
import { silentLog } from "../../../shared/runtime/log.ts";
import { SimulatedClock } from "../../../test/support/clock.ts";
import { BufferPool } from "../store/buffer-pool.ts";
import type { Channel } from "./channel.ts";
import { Exchange } from "./exchange.ts";

const QUIET = {
  log: silentLog,
  serve: async () => null,
  heard: () => {},
  paced: () => {},
  isOutside: () => false,
};

test("exchange: a host that is met is dialled once, not again while that goes on", () => {
  const dialled: string[] = [];
  const clock = new SimulatedClock();
  const dial = (host: string) => {
    dialled.push(host);
    return new Promise<Channel>(() => {});
  };
  const exchange = new Exchange({ ...QUIET, clock, pool: new BufferPool(clock), dial });
  for (const host of ["a", "b", "a"]) exchange.meet(host);
  expect(dialled).toEqual(["a", "b"]);
});

test("exchange: who asks leaves with its signal while the host is dialled, others wait on", async () => {
  const clock = new SimulatedClock();
  const dialled = Promise.withResolvers<Channel>();
  const exchange = new Exchange({
    ...QUIET,
    clock,
    dial: () => dialled.promise,
    pool: new BufferPool(clock),
  });
  const what = { kind: "holdings", hash: "", bytes: null, foreground: true } as const;
  const leaving = new AbortController();
  const asked = [leaving, new AbortController()].map(({ signal }) =>
    exchange.ask("h", what, { signal }),
  );
  leaving.abort(new Error("late"));
  expect(await asked[0]).toEqual({ ok: false, reason: "cancelled" });
  expect(await exchange.ask("h", what, leaving)).toEqual({ ok: false, reason: "cancelled" });
  dialled.reject(new Error("no answer"));
  expect(await asked[1]).toEqual({ ok: false, reason: "failed" });
});

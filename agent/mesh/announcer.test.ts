import { describe, expect, test } from "vitest";
import { silentLog } from "../../shared/runtime/log.ts";
import { SimulatedClock } from "../../test/support/clock.ts";
import { Announcer } from "./announcer.ts";
import { Bitmap } from "./transfer/bitmap.ts";
import { decodeAnnouncement } from "./wire/gossip.ts";

const A = "a".repeat(64);
const B = "b".repeat(64);

function fixture(ids: string[] = []) {
  const clock = new SimulatedClock();
  const sent: string[][] = [];
  const have = new Bitmap(1_000);
  const announcer = new Announcer({
    self: { host: "h", site: "s" },
    clock,
    log: silentLog,
    publish: async (bytes) => {
      sent.push(decodeAnnouncement(bytes)?.manifests.map((m) => m.id) ?? []);
    },
    state: (id) => ({ id, have, wanting: true, urgent: false, claims: [] }),
    ids: () => ids,
    others: () => 40,
  });
  /** Another unit is here. */
  const grow = () => have.set(have.count);
  return { clock, announcer, sent, grow };
}

describe("announcer", () => {
  test("says the first change at once and the next ones together (transfers run)", async () => {
    const { clock, announcer, sent, grow } = fixture();
    await announcer.tick();
    await clock.advance(1_000);
    for (let i = 0; i < 10; i++) {
      grow();
      announcer.changed(i % 2 === 0 ? A : B);
      await announcer.tick();
      await clock.advance(100);
    }
    expect(sent.slice(0, 3)).toEqual([[], [A], [B, A]]);
    expect(sent).toHaveLength(5);
  });

  test("says what changes together without waiting for a tick", async () => {
    const { clock, announcer, sent } = fixture();
    await announcer.tick();
    await clock.advance(1_000);
    announcer.changed(A);
    announcer.changed(B);
    await clock.advance(20);
    expect(sent).toEqual([[], [A, B]]);
  });

  test("says seldom how far it is (a large site)", async () => {
    const { clock, announcer, sent, grow } = fixture();
    await announcer.tick();
    for (let i = 0; i < 200; i++) {
      grow();
      announcer.progressed(A);
      await announcer.tick();
      await clock.advance(100);
    }
    expect(sent).toEqual([[], [A], [A]]);
  });

  test("does not wait with a version that is complete", async () => {
    const { clock, announcer, sent, grow } = fixture();
    await announcer.tick();
    await clock.advance(1_000);
    announcer.changed(A);
    await announcer.tick();
    grow();
    announcer.completed(A);
    await announcer.tick();
    expect(sent).toEqual([[], [A], [A]]);
  });

  test("says nothing twice, but in what it says of all (nothing became different)", async () => {
    const { clock, announcer, sent } = fixture([A]);
    for (let i = 0; i < 310; i++) {
      announcer.changed(A);
      announcer.progressed(A);
      await announcer.tick();
      await clock.advance(100);
    }
    expect(sent).toEqual([[A], [A]]);
  });
});

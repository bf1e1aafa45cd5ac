import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RECORDS_ITEMS_MAX } from "../../shared/protocol/bodies.ts";
import { bin, outcome } from "../../test/support/messages.ts";
import {
  acknowledge,
  add,
  disconnected,
  EMPTY_OUTBOX,
  isEmpty,
  type Outbox,
  send,
} from "./outbox.ts";

const limits = { demandMax: 50_000, outcomesMax: 20_000 };
const many = (count: number) => Array.from({ length: count }, (_, i) => outcome("h", i));

describe("outbox", () => {
  test("one batch is under way until acknowledged; what comes meanwhile is the next", () => {
    const first = send(add(EMPTY_OUTBOX, [bin("h", 1)], [], limits), 10);
    expect(first.records).toMatchObject({ seq: 1, demand: [bin("h", 1)] });
    const more = add(first.outbox, [bin("h", 2)], [outcome("h", 1)], limits);
    expect(send(more, 20).records).toEqual(first.records);
    const second = send(acknowledge(more, 1), 30);
    expect(second.records).toEqual({ seq: 2, demand: [bin("h", 2)], outcomes: [outcome("h", 1)] });
    expect(isEmpty(acknowledge(second.outbox, 2))).toBe(true);
  });

  test("an old acknowledgement changes nothing", () => {
    const { outbox } = send(add(EMPTY_OUTBOX, [bin("h", 1)], [], limits), 0);
    expect(acknowledge(outbox, 0)).toBe(outbox);
    expect(disconnected(outbox).underWay?.sentMs).toBeNull();
  });

  test("adds up counts of the same bin", () => {
    const outbox = add(EMPTY_OUTBOX, [bin("h", 1, 2), bin("h", 2, 1), bin("h", 1, 3)], [], limits);
    expect(send(outbox, 0).records?.demand).toEqual([bin("h", 1, 5), bin("h", 2, 1)]);
  });

  test("splits what is too much for one message, in order", () => {
    let outbox = add(EMPTY_OUTBOX, [], many(RECORDS_ITEMS_MAX + 10), limits);
    const first = send(outbox, 0);
    expect(first.records?.outcomes).toHaveLength(RECORDS_ITEMS_MAX);
    outbox = acknowledge(first.outbox, 1);
    expect(send(outbox, 0).records?.outcomes[0]).toEqual(outcome("h", RECORDS_ITEMS_MAX));
  });

  test("drops the oldest and counts them (full), never the batch under way", () => {
    const small = { demandMax: 2, outcomesMax: 3 };
    const sent = send(add(EMPTY_OUTBOX, [], many(3), small), 0).outbox;
    const full = add(sent, [bin("h", 1), bin("h", 2), bin("h", 3)], many(5), small);
    expect(full.droppedDemand).toBe(1);
    expect(full.droppedOutcomes).toBe(2);
    expect(full.underWay?.records.outcomes).toHaveLength(3);
    const next = send(acknowledge(full, 1), 0).records;
    expect(next?.demand.map((b) => b.category)).toEqual(["c-2", "c-3"]);
    expect(next?.outcomes.map((o) => o.category)).toEqual(["c-2", "c-3", "c-4"]);
  });

  test("what went in comes out once or is counted as dropped (any order of events)", () => {
    const event = fc.oneof(
      fc.record({ kind: fc.constant("add" as const), demand: fc.nat(6), outcomes: fc.nat(40) }),
      fc.constantFrom(
        { kind: "send" as const },
        { kind: "ack" as const },
        { kind: "cut" as const },
      ),
    );
    const bounded = { demandMax: 8, outcomesMax: 60 };
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        let outbox: Outbox = EMPTY_OUTBOX;
        let next = 0;
        const counts = { in: 0, out: 0 };
        const seen = new Set<string>();
        const acked = (records: Outbox["underWay"]) => {
          for (const o of records?.records.outcomes ?? []) {
            expect(seen.has(o.category)).toBe(false);
            seen.add(o.category);
          }
          counts.out += records?.records.demand.reduce((sum, b) => sum + b.count, 0) ?? 0;
        };
        for (const e of events) {
          if (e.kind === "add") {
            const outcomes = Array.from({ length: e.outcomes }, () => outcome("h", next++));
            const demand = Array.from({ length: e.demand }, (_, i) => bin("h", i));
            outbox = add(outbox, demand, outcomes, bounded);
          } else if (e.kind === "send") outbox = send(outbox, 0).outbox;
          else if (e.kind === "cut") outbox = disconnected(outbox);
          else if (outbox.underWay) {
            acked(outbox.underWay);
            outbox = acknowledge(outbox, outbox.underWay.records.seq);
          }
          expect(outbox.demand.size).toBeLessThanOrEqual(bounded.demandMax);
          expect(outbox.outcomes.size).toBeLessThanOrEqual(bounded.outcomesMax);
        }
        const kept = outbox.outcomes.size + (outbox.underWay?.records.outcomes.length ?? 0);
        expect(seen.size + kept + outbox.droppedOutcomes).toBe(next);
      }),
    );
  });
});

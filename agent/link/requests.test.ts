import { describe, expect, test } from "vitest";
import type { Reply, RequestBody } from "../../shared/protocol/bodies.ts";
import { answered, ask, due, expired, forget, nextMs, noRequests, unsent } from "./requests.ts";

const MODEL: RequestBody = { kind: "model" };
const asked = (count: number, deadlineMs = 1_000) => {
  let requests = noRequests(0);
  for (let id = 1; id <= count; id++)
    requests = ask(requests, id, { body: MODEL, deadlineMs }, 500).requests;
  return requests;
};
const reply = (changes: Partial<Reply>): Reply => ({
  id: 1,
  ok: true,
  code: null,
  message: "",
  body: { kind: "model", model: null },
  ...changes,
});

describe("requests", () => {
  test("sixteen are under way at once, the others as replies come", () => {
    const first = due(asked(20), 0);
    expect(first.send.map((r) => r.id)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
    expect(due(first.requests, 0).send).toEqual([]);
    const { requests } = answered(first.requests, reply({ id: 3 }));
    expect(due(requests, 0).send.map((r) => r.id)).toEqual([17]);
  });

  test("keeps under the table's rate (many quick answers)", () => {
    let requests = asked(400, 1e9);
    let sent = 0;
    const settle = (nowMs: number) => {
      for (;;) {
        const result = due(requests, nowMs);
        if (result.send.length === 0) return;
        requests = result.requests;
        sent += result.send.length;
        for (const { id } of result.send) requests = answered(requests, reply({ id })).requests;
      }
    };
    settle(0);
    expect(sent).toBe(50);
    expect(nextMs(requests, true)).toBeCloseTo(25);
    expect(nextMs(requests, false)).toBe(1e9);
    settle(1_000);
    expect(sent).toBe(90);
  });

  test.each([
    ["its answer", reply({}), { ok: true, body: { kind: "model", model: null } }],
    [
      "an error",
      reply({ ok: false, code: "NOT_FOUND", message: "none", body: null }),
      { ok: false, code: "NOT_FOUND", message: "none" },
    ],
    [
      "an error of a newer coordinator",
      reply({ ok: false, code: "BRAND_NEW", message: "?", body: null }),
      { ok: false, code: "UNAVAILABLE", message: "?" },
    ],
    [
      "an answer to something else",
      reply({ body: { kind: "publish", manifestHash: "00" } }),
      { ok: false, code: "PROTOCOL", message: "the reply answers something else" },
    ],
  ])("a reply settles the request once (%s)", (_what, said, result) => {
    const first = answered(asked(1), said);
    expect(first.settled).toEqual([{ id: 1, result }]);
    expect(answered(first.requests, said).settled).toEqual([]);
  });

  test("ends at its deadline, and says whether it was ever asked", () => {
    const { requests } = due(asked(1), 0);
    expect(expired(requests, 999).settled).toEqual([]);
    expect(expired(requests, 1_000).settled).toMatchObject([{ result: { code: "TIMEOUT" } }]);
    expect(expired(unsent(requests), 1_000).settled).toMatchObject([
      { result: { code: "UNREACHABLE" } },
    ]);
    expect(expired(forget(requests, 1), 1_000).settled).toEqual([]);
  });
});

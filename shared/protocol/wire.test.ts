import { describe, expect, test } from "vitest";
import { encode } from "./codec.ts";
import { MESSAGES } from "./messages.ts";
import { Wire } from "./wire.ts";

const pong = { type: "pong", body: { at: 5 } } as const;
const ping = { type: "ping", body: { at: 5 } } as const;

describe("wire", () => {
  test("numbers frames, and takes them in that order", () => {
    const agent = new Wire("down");
    const coordinator = new Wire("up");
    for (let i = 0; i < 3; i++)
      expect(coordinator.receive(agent.encode(pong), i)).toEqual({
        kind: "message",
        message: pong,
      });
    expect(agent.receive(coordinator.encode(ping), 0)).toEqual({ kind: "message", message: ping });
  });

  test.each([
    ["replayed", [0, 1, 1]],
    ["skipped", [0, 1, 3]],
    ["from the past", [0, 1, 0]],
    ["not from the start", [1]],
  ])("refuses what is out of sequence (%s)", (_what, sequences) => {
    const coordinator = new Wire("up");
    const received = sequences.map((s) => coordinator.receive(encode(pong, s), 0));
    expect(received.at(-1)).toMatchObject({ kind: "refused", code: "PROTOCOL", at: "sequence" });
    expect(received.slice(0, -1).every((r) => r.kind === "message")).toBe(true);
  });

  test("a frame that cannot be encoded uses up no number", () => {
    const agent = new Wire("down");
    expect(() => agent.encode({ type: "pong", body: { at: -1 } })).toThrow(/schema/);
    expect(new Wire("up").receive(agent.encode(pong), 0).kind).toBe("message");
  });

  test("drops frames over the rate without reading them, then lets more in with time", () => {
    const agent = new Wire("down");
    const coordinator = new Wire("up");
    const { burst, ratePerSecond } = MESSAGES.pong;
    const kinds = Array.from({ length: burst + 3 }, () =>
      coordinator.receive(agent.encode(pong), 0),
    );
    expect(kinds.filter((r) => r.kind === "message")).toHaveLength(burst);
    expect(kinds.at(-1)).toEqual({ kind: "dropped", type: "pong" });
    const laterMs = 1_000 / ratePerSecond;
    expect(coordinator.receive(agent.encode(pong), laterMs).kind).toBe("message");
    expect(coordinator.receive(agent.encode(pong), laterMs).kind).toBe("dropped");
  });

  test("ends the connection on gross abuse", () => {
    const agent = new Wire("down");
    const coordinator = new Wire("up");
    const kinds = Array.from({ length: 300 }, () => coordinator.receive(agent.encode(pong), 0));
    expect(kinds.at(-1)).toMatchObject({ kind: "refused", code: "RATE_LIMITED", at: "abuse" });
    expect(kinds.filter((r) => r.kind === "dropped")).toHaveLength(200);
  });

  test("a message of the other direction is refused", () => {
    expect(new Wire("up").receive(encode(ping, 0), 0)).toMatchObject({
      kind: "refused",
      at: "tag",
    });
    expect(() => new Wire("up").encode(pong)).toThrow(/other way/);
  });
});

import { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import { beforeEach, expect, test } from "vitest";
import { SimulatedClock } from "../../test/support/clock.ts";
import { Guard, type Knock } from "./api-guard.ts";
import type { RouteAccess } from "./api-route.ts";

const socket = new TLSSocket(new Duplex());
const audited: { actor: string; code: unknown }[] = [];
let clock: SimulatedClock;
let guard: Guard;

beforeEach(() => {
  audited.length = 0;
  clock = new SimulatedClock();
  guard = new Guard({
    clock,
    trust: {
      authenticate: (bearer) => (bearer === "root" ? { name: "root", role: "admin" } : null),
      identify: () => ({ refused: "REVOKED", reason: "revoked" }),
      identifyForRenewal: () => ({ host: "h", serial: "1" }),
      audit: { refused: ({ actor, detail }) => audited.push({ actor, code: detail.code }) },
    },
  });
});

function knock(access: RouteAccess | undefined, authorization?: string, address = "a"): Knock {
  return { method: "GET", path: "/x", access, authorization, address, socket };
}
function codeOf(asked: Knock): string {
  try {
    guard.admit(asked);
    return "admitted";
  } catch (cause) {
    return (cause as { code: string }).code;
  }
}

test("guard: a row without a rule is refused even to an admin, with an audit line", () => {
  expect(codeOf(knock(undefined, "Bearer root"))).toBe("NOT_FOUND");
  expect(codeOf(knock("owner" as RouteAccess, "Bearer root"))).toBe("FORBIDDEN");
  expect(audited).toEqual([
    { actor: "user:root", code: "NOT_FOUND" },
    { actor: "user:root", code: "FORBIDDEN" },
  ]);
});

test.each([
  ["nothing", undefined],
  ["another scheme", "Basic cm9vdDpyb290"],
  ["no token", "Bearer "],
  ["two tokens", "Bearer root root"],
  ["a control character", "Bearer ro\tot"],
  ["a text too long", `Bearer ${"r".repeat(300)}`],
])("guard: an authorization that is %s is unauthenticated", (_, authorization) => {
  expect(codeOf(knock("viewer", authorization))).toBe("UNAUTHENTICATED");
});

test("guard: agents' routes go by the certificate, not by a token", () => {
  expect(codeOf(knock("agent", "Bearer root"))).toBe("REVOKED");
  expect(guard.admit(knock("agent-cert"))).toMatchObject({ agent: { host: "h" }, caller: null });
});

test("guard: one token cannot ask without end, and may again later (1,000 at once)", async () => {
  const codes = Array.from({ length: 1_000 }, () => codeOf(knock("viewer", "Bearer root")));
  expect(codes.filter((code) => code === "admitted")).toHaveLength(400);
  expect(codes.at(-1)).toBe("RATE_LIMITED");
  await clock.advance(1_000);
  expect(codeOf(knock("viewer", "Bearer root"))).toBe("admitted");
});

test("guard: guessing from one address is slowed, others are not (1,000 at once)", () => {
  const codes = Array.from({ length: 1_000 }, () => codeOf(knock("viewer", "Bearer guess")));
  expect(codes.at(-1)).toBe("RATE_LIMITED");
  expect(codeOf(knock("viewer", "Bearer root"))).toBe("admitted");
  expect(codeOf(knock("public"))).toBe("RATE_LIMITED");
  expect(codeOf(knock("public", undefined, "b"))).toBe("admitted");
});

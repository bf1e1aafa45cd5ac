import { expect, test } from "vitest";
import { Claims } from "./claims.ts";

test("claims: one host has the work until its time is over or it gives it back", () => {
  const claims = new Claims();
  expect(claims.take("a", "image", 1_000, 0)).toBe(true);
  expect(claims.take("b", "image", 1_000, 999)).toBe(false);
  expect(claims.take("b", "other image", 1_000, 999)).toBe(true);
  expect(claims.take("a", "image", 1_000, 999)).toBe(true);
  expect(claims.take("b", "image", 1_000, 1_998)).toBe(false);
  expect(claims.take("b", "image", 1_000, 1_999)).toBe(true);
  expect(claims.take("b", "image", 0, 2_000)).toBe(true);
  expect(claims.take("a", "image", 1_000, 2_000)).toBe(true);
});

test("claims: a host cannot end what another has", () => {
  const claims = new Claims();
  claims.take("a", "image", 1_000, 0);
  expect(claims.take("b", "image", 0, 1)).toBe(false);
  expect(claims.take("c", "image", 1_000, 2)).toBe(false);
});

test("claims: are bounded, lapsed ones go first (more than anybody needs)", () => {
  const claims = new Claims();
  claims.take("a", "kept", 1_000_000, 0);
  for (let i = 0; i < 9_999; i++) claims.take("a", `brief ${i}`, 1, 0);
  claims.take("a", "one more", 1, 10);
  expect(claims.take("b", "kept", 1, 10)).toBe(false);
  expect(claims.take("b", "brief 5", 1, 10)).toBe(true);
});

import { expect, test } from "vitest";
import { negotiate } from "./versions.ts";

test.each([
  [{ min: 1, max: 1 }, { min: 1, max: 1 }, 1],
  [{ min: 1, max: 4 }, { min: 2, max: 3 }, 3],
  [{ min: 3, max: 5 }, { min: 1, max: 3 }, 3],
  [{ min: 2, max: 2 }, { min: 1, max: 9 }, 2],
])("versions: the highest both speak (agent %o, coordinator %o)", (agent, coordinator, version) => {
  expect(negotiate(agent, coordinator)).toEqual({ ok: true, version });
});

test.each([
  [{ min: 1, max: 2 }, { min: 3, max: 4 }, "agent"],
  [{ min: 5, max: 5 }, { min: 1, max: 4 }, "coordinator"],
])(
  "versions: says whom to upgrade when none overlaps (agent %o, coordinator %o)",
  (a, c, older) => {
    const result = negotiate(a, c);
    expect(result.ok).toBe(false);
    expect(!result.ok && result.message).toMatch(new RegExp(`upgrade the ${older}$`));
  },
);

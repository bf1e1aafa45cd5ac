import { describe, expect, test } from "vitest";
import { reportFacts } from "../../test/support/messages.ts";
import { hostBudget } from "./host-budget.ts";
import type { HostView } from "./input.ts";

const { sample, environments, holdings } = reportFacts(2);
const host: HostView = { id: "h", site: "s", connected: true, sample, environments, holdings };

describe("a host's budget", () => {
  test("is a part of what is free and of what Prestage holds there", () => {
    const held = environments.reduce((sum, e) => sum + e.memoryBytes, 0);
    const stored = holdings.reduce((sum, h) => sum + h.bytesHave, 0);
    const budget = hostBudget(host);
    expect(budget.memoryBytes).toBeCloseTo(0.85 * (sample.memoryFreeBytes + held));
    expect(budget.diskBytes).toBeCloseTo(0.85 * (sample.diskFreeBytes + stored));
  });

  test.each([
    [1, 1],
    [16, 13],
    [200, 170],
  ])("leaves some environments to requests (%i at most)", (environmentsMax, planned) => {
    expect(hostBudget({ ...host, environmentsMax }).environments).toBe(planned);
  });

  test("is nothing while the host has measured nothing", () => {
    const none = { memoryBytes: 0, diskBytes: 0, environments: 0 };
    expect(hostBudget({ ...host, sample: null })).toEqual(none);
    expect(hostBudget(undefined)).toEqual(none);
  });
});

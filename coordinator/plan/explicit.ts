/** What operators asked for with `prestage stage`: before everything else, within the budgets. */
import type { Order, Reason } from "../../shared/domain.ts";
import { missingOf } from "./candidate.ts";
import type { ExplicitStage, PlanInput } from "./input.ts";
import type { HostIndex } from "./rank.ts";
import type { Item } from "./select.ts";

type Asked = {
  stage: ExplicitStage;
  missing: number;
  /** Its deadline when it was ordered before. */
  before: number | null;
  blocked: Reason | null;
  /** Index among the items; null when blocked. */
  item: number | null;
};

/** The items to select with, and afterwards the orders by which of them were taken. */
export function explicitOrders(
  input: PlanInput,
  indexes: readonly HostIndex[],
): { items: Item[]; orders(taken: (item: number) => boolean): Order[] } {
  const items: Item[] = [];
  const before = new Map(input.previous.flatMap((o) => (o.taken ? [[o.id, o.deadlineMs]] : [])));
  const asked = input.explicit.map((stage): Asked => {
    const at = input.hosts.findIndex((host) => host.id === stage.host);
    const index = indexes[at];
    const missing = index ? missingOf(stage.need, index) : stage.need.bytes;
    const underWay = before.get(stage.id) ?? null;
    const connected = input.hosts[at]?.connected === true;
    const blocked = blockedBy(input, stage, { connected, missing, underWay: underWay !== null });
    const facts = { stage, missing, before: underWay, blocked };
    if (blocked) return { ...facts, item: null };
    items.push({
      host: at,
      group: `explicit:${stage.id}@${stage.host}`,
      limit: 1,
      gain: 0,
      fixed: true,
      memory: 0,
      environments: 0,
      data: [{ key: stage.need.manifestHash, disk: stage.need.bytes, bytes: missing }],
    });
    return { ...facts, item: items.length - 1 };
  });
  return {
    items,
    orders: (taken) =>
      asked.map((one) => orderFor(input, one, one.item !== null && taken(one.item))),
  };
}

function blockedBy(
  input: PlanInput,
  stage: ExplicitStage,
  facts: { connected: boolean; missing: number; underWay: boolean },
): Reason | null {
  if (!facts.connected) return "host-gone";
  if (facts.missing === 0) return null;
  if (input.paused) return "paused";
  return !facts.underWay && input.throttled.has(stage.host) ? "throttled" : null;
}

function orderFor(input: PlanInput, one: Asked, taken: boolean): Order {
  const { stage } = one;
  return {
    id: stage.id,
    kind: "stage",
    workload: null,
    category: null,
    host: stage.host,
    artifacts: [stage.need.ref],
    taken,
    reason: one.blocked ?? (taken ? "explicit" : "no-budget"),
    probability: 1,
    threshold: 0,
    leadMs: 0,
    deadlineMs: stage.deadlineMs ?? one.before ?? input.now,
    missCost: 0,
    stageCost: (one.missing / 2 ** 30) * input.prices.movedGb,
    holdCost: 0,
    expectedGain: 0,
    bytes: one.missing,
    affinity: 0,
  };
}

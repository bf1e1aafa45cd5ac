/**
 * From a plan to what each agent is told, whole: level-triggered, with a version that rises only
 * when the content changes, so that an unchanged plan sends nothing.
 */
import type { HoldArtifact, HostId, KeepEnvironment, Order } from "../../shared/domain.ts";

export type DesiredState = {
  version: number;
  hold: HoldArtifact[];
  environments: KeepEnvironment[];
  /** Of everything else the conductor sends along; part of what the version covers. */
  fingerprint: string;
};

export type DesiredInput = {
  orders: readonly Order[];
  hosts: readonly HostId[];
  manifestHash(name: string, version: string): string | null;
  /** Of the workload's class, or what an operator's order has. */
  priority(order: Order): number;
  fingerprint(host: HostId): string;
  /** The version the agent said it has: the next one is higher, also after a restart here. */
  reportedVersion(host: HostId): number;
};

export function desiredStates(
  input: DesiredInput,
  previous: ReadonlyMap<HostId, DesiredState>,
): Map<HostId, DesiredState> {
  const byHost = Map.groupBy(
    input.orders.filter((order) => order.taken),
    (order) => order.host,
  );
  return new Map(
    input.hosts.map((host) => [host, desiredOf(input, host, byHost.get(host) ?? [], previous)]),
  );
}

function desiredOf(
  input: DesiredInput,
  host: HostId,
  orders: readonly Order[],
  previous: ReadonlyMap<HostId, DesiredState>,
): DesiredState {
  const hold = holdsOf(input, orders);
  const environments = orders
    .flatMap((order): KeepEnvironment[] => {
      const { id, workload, category, deadlineMs } = order;
      if (order.kind !== "warm" || workload === null || category === null) return [];
      const keep = { orderId: id, workload, category, deadlineMs };
      const priority = input.priority(order);
      return [{ ...keep, priority, artifacts: resolved(input, order) }];
    })
    .sort((a, b) => compare(a.orderId, b.orderId));
  const fingerprint = input.fingerprint(host);
  const before = previous.get(host);
  const reported = input.reportedVersion(host);
  // The agent may be ahead of a coordinator that restarted: then the same content goes out anew.
  if (before && before.version >= reported && same(before, { hold, environments, fingerprint }))
    return before;
  const version = Math.max(before?.version ?? 0, reported) + 1;
  return { version, hold, environments, fingerprint };
}

/** Versions with their hashes; those whose tag moved since the plan come with the next one. */
function resolved(input: DesiredInput, order: Order): NonNullable<KeepEnvironment["artifacts"]> {
  return order.artifacts.flatMap((ref) => {
    const manifestHash = input.manifestHash(ref.name, ref.version);
    return manifestHash === null ? [] : [{ ref, manifestHash }];
  });
}

/** One entry per artifact: the most urgent order that needs it, by priority, then deadline. */
function holdsOf(input: DesiredInput, orders: readonly Order[]): HoldArtifact[] {
  const best = new Map<string, HoldArtifact>();
  for (const order of orders) {
    const priority = input.priority(order);
    for (const ref of order.artifacts) {
      const manifestHash = input.manifestHash(ref.name, ref.version);
      if (manifestHash === null) continue;
      const { id: orderId, deadlineMs } = order;
      const wanted = { orderId, ref, manifestHash, priority, deadlineMs };
      const other = best.get(manifestHash);
      if (!other || moreUrgent(wanted, other)) best.set(manifestHash, wanted);
    }
  }
  return [...best.values()].sort((a, b) => compare(a.manifestHash, b.manifestHash));
}

function moreUrgent(a: HoldArtifact, b: HoldArtifact): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.deadlineMs !== b.deadlineMs) return a.deadlineMs < b.deadlineMs;
  return a.orderId < b.orderId;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function same(a: DesiredState, b: Omit<DesiredState, "version">): boolean {
  return (
    a.fingerprint === b.fingerprint &&
    a.hold.length === b.hold.length &&
    a.environments.length === b.environments.length &&
    a.hold.every((one, i) => sameHold(one, b.hold[i])) &&
    a.environments.every((one, i) => sameKeep(one, b.environments[i]))
  );
}

function sameHold(a: HoldArtifact, b: HoldArtifact | undefined): boolean {
  return (
    b !== undefined &&
    a.manifestHash === b.manifestHash &&
    a.orderId === b.orderId &&
    a.priority === b.priority &&
    a.deadlineMs === b.deadlineMs
  );
}

function sameKeep(a: KeepEnvironment, b: KeepEnvironment | undefined): boolean {
  return (
    b !== undefined &&
    a.orderId === b.orderId &&
    a.priority === b.priority &&
    a.deadlineMs === b.deadlineMs &&
    hashesOf(a) === hashesOf(b)
  );
}

const hashesOf = ({ artifacts = [] }: KeepEnvironment) =>
  artifacts.map((a) => a.manifestHash).join(" ");

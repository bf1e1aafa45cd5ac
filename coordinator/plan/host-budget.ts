import type { HostBudget, HostView } from "./input.ts";

/** Part of each limit that plans use; the rest is for what requests make by themselves. */
const PLANNED_SHARE = 0.85;
/** Of agents that do not say how many they run. */
const ENVIRONMENTS_UNKNOWN = 200;

/** What plans may use of a host: of what is free, and of what Prestage holds there already. */
export function hostBudget(host: HostView | undefined): HostBudget {
  if (!host?.sample) return { memoryBytes: 0, diskBytes: 0, environments: 0 };
  const heldMemory = host.environments.reduce((sum, e) => sum + e.memoryBytes, 0);
  const heldDisk = host.holdings.reduce((sum, h) => sum + h.bytesHave, 0);
  const environments = (host.environmentsMax ?? ENVIRONMENTS_UNKNOWN) * PLANNED_SHARE;
  return {
    memoryBytes: (heldMemory + host.sample.memoryFreeBytes) * PLANNED_SHARE,
    diskBytes: (heldDisk + host.sample.diskFreeBytes) * PLANNED_SHARE,
    environments: Math.max(1, Math.floor(environments)),
  };
}

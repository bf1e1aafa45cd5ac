import type { EnvironmentStatus, HostId, RouteTable } from "../../shared/domain.ts";

export type RoutableHost = {
  id: HostId;
  /** Gone hosts get no routes; a host that only lost its session keeps them. */
  gone: boolean;
  connected: boolean;
  environments: readonly EnvironmentStatus[];
};

export type RouteInput = {
  hosts: readonly RoutableHost[];
  /** Categories that get an entry even while nothing serves them. */
  keys: Iterable<{ workload: string; category: string }>;
  affinity(workload: string, host: HostId): number;
  /** The planner's home hosts; empty: the best connected hosts by affinity. */
  home(workload: string, category: string): readonly HostId[];
  /** Highest version any agent reported: the next one is higher, also after a restart here. */
  reportedVersion: number;
};

export const EMPTY_TABLE: RouteTable = { version: 0, entries: [] };

export function routeTable(_input: RouteInput, previous: RouteTable): RouteTable {
  return previous;
}

/** From a plan to what each agent is told. */
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
  /** Of the workload's class; the one of explicit stages for null. */
  priority(workload: string | null): number;
  fingerprint(host: HostId): string;
  /** The version the agent said it has: the next one is higher, also after a restart here. */
  reportedVersion(host: HostId): number;
};

export function desiredStates(
  _input: DesiredInput,
  _previous: ReadonlyMap<HostId, DesiredState>,
): Map<HostId, DesiredState> {
  return new Map();
}

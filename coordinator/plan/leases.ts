import type { HostId, Lease } from "../../shared/domain.ts";

export type LeaseOptions = {
  /** Of the whole fleet. */
  budgetBytesPerSecond: number;
  perHostBytesPerSecond: number;
  floorBytesPerSecond: number;
  /** Demand clock. */
  durationMs: number;
};

/** Bytes a host still has to stage, per QoS class. */
export type LeaseDemand = {
  host: HostId;
  pending: { class: string; priority: number; bytes: number }[];
  /** At peak or paused: gets rate 0. */
  throttled: boolean;
};

export type LeaseBook = {
  hosts: ReadonlyMap<HostId, { floor: number; grants: readonly Lease[] }>;
  next: number;
};

export const EMPTY_BOOK: LeaseBook = { hosts: new Map(), next: 1 };

/** Leases for the connected hosts; every host of `enrolled` keeps its floor reserved. */
export function grantLeases(
  book: LeaseBook,
  _input: { enrolled: readonly HostId[]; demands: readonly LeaseDemand[] },
  _options: LeaseOptions,
  _now: number,
): { book: LeaseBook; leases: Map<HostId, Lease> } {
  return { book, leases: new Map() };
}

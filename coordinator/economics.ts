/** What a category's misses and memory are worth, as replays and the bandit take it. */
import { DEMAND_BIN_MS } from "../shared/domain.ts";
import type { Catalog } from "./catalog.ts";
import type { MeasuredCosts } from "./measured.ts";

export type Economics = {
  /** Cost units of one cold arrival. */
  missCost: number;
  memoryGb: number;
  /** Whole demand minutes from deciding to ready. */
  leadMinutes: number;
};

const GB = 1e9;
const MIB = 2 ** 20;

/** Null for a workload that is not declared. `speed`: demand seconds per real second. */
export function economicsOf(
  { catalog, measured, speed }: { catalog: Catalog; measured: MeasuredCosts; speed: number },
  workload: string,
): Economics | null {
  const declared = catalog.workload(workload);
  if (!declared) return null;
  const { warmMs } = measured.of(workload);
  const missSeconds = declared.missCostSeconds ?? warmMs / 1000;
  return {
    missCost: (missSeconds * catalog.priority(workload)) / 100,
    memoryGb: (declared.environment.resources.memoryMb * MIB) / GB,
    leadMinutes: Math.max(1, Math.ceil((warmMs * speed) / DEMAND_BIN_MS)),
  };
}

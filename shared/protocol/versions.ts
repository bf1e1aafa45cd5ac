/** Which protocol versions this software speaks, and how two sides agree on one. */

export type VersionRange = { min: number; max: number };

/**
 * Raise `max` with every change an older side would misread, and `min` when support for the old
 * way is removed: two releases of fleet-wide overlap, so that either side may be upgraded first.
 */
export const PROTOCOL: VersionRange = { min: 1, max: 1 };

/** The highest version both speak, or a message for people that says which side to upgrade. */
export function negotiate(
  agent: VersionRange,
  coordinator: VersionRange,
): { ok: true; version: number } | { ok: false; message: string } {
  const version = Math.min(agent.max, coordinator.max);
  if (version >= Math.max(agent.min, coordinator.min)) return { ok: true, version };
  const older = agent.max < coordinator.min ? "agent" : "coordinator";
  const speaks = (range: VersionRange) =>
    range.min === range.max ? `${range.min}` : `${range.min}–${range.max}`;
  return {
    ok: false,
    message: `no common protocol version: agent speaks ${speaks(agent)}, coordinator ${speaks(coordinator)}; upgrade the ${older}`,
  };
}

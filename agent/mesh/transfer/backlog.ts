/**
 * When a host has so much to send in the background that it refuses more: who asks had better get
 * the unit from another whose uplink is idle, and come back. Without that, what many chose early
 * waits in the queues of few hosts, and the first of all hosts sends units twice.
 */

/** Chunks of one unit that are asked of a host at once. */
export const UNIT_REQUESTS = 4;
/**
 * Raised: units wait longer in queues, and uplinks elsewhere idle; lowered: more requests for
 * nothing, and this host's uplink may run dry before they come back.
 */
const REQUESTS_MAX = 6 * UNIT_REQUESTS;

/**
 * Whether a host with `all` requests open, `own` of them by who asks, refuses one more. Who began
 * a unit may ask for the rest of it.
 */
export function refuses({ all, own }: { all: number; own: number }): boolean {
  const goesOn = own > 0 && own < UNIT_REQUESTS;
  return all >= REQUESTS_MAX && !goesOn;
}

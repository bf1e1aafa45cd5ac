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
const UNITS_MAX = 9;

/** About so many units are meant by the requests that a host has open at another. */
export function unitsOf(requests: number): number {
  return Math.ceil(requests / UNIT_REQUESTS);
}

/**
 * Whether a host that has so many units to send refuses a request of a host that has `own` others
 * open there. Who began a unit may ask for the rest of it.
 */
export function refuses({ units, own }: { units: number; own: number }): boolean {
  const goesOn = own > 0 && own < UNIT_REQUESTS;
  return units >= UNITS_MAX && !goesOn;
}

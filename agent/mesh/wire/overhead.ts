/**
 * What the counters of a network interface show for data that is sent over TLS: budgets are of
 * these bytes, not of the files'. For an MTU of 1500; with larger frames it is somewhat less.
 */

/** Ethernet, IP (as IPv4 has it) and TCP with timestamps. */
const SEGMENT_HEAD_BYTES = 14 + 20 + 32;
const SEGMENT_BYTES = 1_448;
/** Header, type and tag of TLS 1.3. */
const RECORD_HEAD_BYTES = 22;
const RECORD_BYTES = 16 << 10;

/** Bytes on the wire of so many given to a TLS connection at once. */
export function wireBytes(bytes: number): number {
  const records = bytes + RECORD_HEAD_BYTES * Math.ceil(bytes / RECORD_BYTES);
  return records + SEGMENT_HEAD_BYTES * Math.ceil(records / SEGMENT_BYTES);
}

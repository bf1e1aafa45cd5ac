/** How patient the transfer core is, and how much it keeps under way. */
import type { Random } from "../../../shared/runtime/random.ts";

export type TransferOptions = {
  self: string;
  random: Random;
  flightBytesMax: number;
  /** So much of what a budget gives is asked for at once; what comes of it may be paced besides. */
  askedAheadMs: number;
  originFlightsMax: number;
  /** How long to listen for others that want the same before going to the origin. */
  settleMs: number;
  /** How long a host may make no progress and still be waited for. */
  takeoverMs: number;
  /** Without any answer for so long a peer's requests are given to others. */
  peerTimeoutMs: number;
  /** When everything is under way, what is asked of a peer silent for so long is asked of a second. */
  endgameMs: number;
};

export const TRANSFER_DEFAULTS: Omit<TransferOptions, "self" | "random"> = {
  flightBytesMax: 48 << 20,
  askedAheadMs: 250,
  originFlightsMax: 6,
  settleMs: 700,
  takeoverMs: 4_000,
  peerTimeoutMs: 8_000,
  endgameMs: 2_000,
};

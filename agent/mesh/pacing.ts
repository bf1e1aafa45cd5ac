/**
 * Splits the staging budget over the peers that are asked, by what each has still to send, and tells
 * them: requests alone cannot hold a rate, as their answers may all come at once.
 */
import { PACE_MAX } from "./frames.ts";

/** What comes over the wire for each byte of data: frames, TLS, TCP, IP, Ethernet. */
const WIRE_RATIO = 1.05;
/** Faster than any link: not worth telling. */
const UNLIMITED = 10e9;
const BYTES_PER_SECOND_MIN = 1024;

export class Pacing {
  readonly #tell: (host: string, bytesPerSecond: number) => void;
  /** By host, as told last. */
  readonly #told = new Map<string, number>();

  constructor(tell: (host: string, bytesPerSecond: number) => void) {
    this.#tell = tell;
  }

  /** Whether a host may send its first background answer without being told. */
  knows(host: string): boolean {
    return this.#told.has(host);
  }

  /** `open`: bytes asked for in the background and still to come, by host. */
  update(bytesPerSecond: number, open: ReadonlyMap<string, number>): void {
    if (bytesPerSecond <= 0) return; // what is under way is called back
    let sum = 0;
    for (const bytes of open.values()) sum += bytes;
    const rates = [...open].map(([host, bytes]) => {
      if (bytesPerSecond >= UNLIMITED) return [host, PACE_MAX] as const;
      const share = (bytesPerSecond / WIRE_RATIO) * (bytes / sum);
      return [host, Math.max(BYTES_PER_SECOND_MIN, Math.floor(share))] as const;
    });
    // Who gets less hears it first, so that the sum never passes the budget.
    for (const lower of [true, false])
      for (const [host, rate] of rates) {
        const before = this.#told.get(host) ?? PACE_MAX;
        if (rate === before || rate < before !== lower) continue;
        this.#told.set(host, rate);
        this.#tell(host, rate);
      }
  }
}

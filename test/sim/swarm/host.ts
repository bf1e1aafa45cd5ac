/** One simulated host: the real transfer core, what it holds, its two links and who asked it. */
import { Bitmap } from "../../../agent/mesh/transfer/bitmap.ts";
import { TRANSFER_DEFAULTS } from "../../../agent/mesh/transfer/options.ts";
import { Transfer } from "../../../agent/mesh/transfer/transfer.ts";
import type { Effect } from "../../../agent/mesh/transfer/wants.ts";
import type { Random } from "../../../shared/runtime/random.ts";
import { Link } from "./links.ts";

/** A request on its way from asking to answer. */
export type Ask = {
  by: number;
  of: number;
  effect: Extract<Effect, { type: "request" | "origin" }>;
  cancelled: boolean;
  startMs: number;
};

export class SwarmHost {
  readonly index: number;
  readonly name: string;
  readonly site: number;
  readonly core: Transfer;
  readonly up: Link;
  readonly down: Link;
  readonly latencyMs: number;
  /** Whole units. */
  have: Bitmap;
  neighbours: number[] = [];
  readonly asked = new Map<number, Ask>();
  /** Units to tell of soon, by neighbour. */
  readonly telling = new Map<string, number[]>();
  tellAgainMs = 0;
  queue: Ask[] = [];
  queueAt = 0;
  sending = false;
  spreading = false;
  startMs = 0;
  /** When it told, or will tell, the whole site. */
  gossipMs = Number.NEGATIVE_INFINITY;
  doneMs = Number.NaN;
  alive = true;
  lies = false;

  constructor(
    index: number,
    what: { site: number; units: number; bytesPerSecond: number },
    random: Random,
  ) {
    this.index = index;
    this.name = `h${index}`;
    this.site = what.site;
    this.latencyMs = 0.2 + 0.8 * random.next();
    this.have = new Bitmap(what.units);
    this.up = new Link(what.bytesPerSecond);
    this.down = new Link(what.bytesPerSecond);
    this.core = new Transfer({ ...TRANSFER_DEFAULTS, self: this.name, random });
  }

  /** Requests that wait or are being answered. */
  open = 0;

  take(ask: Ask): void {
    this.queue.push(ask);
    this.open++;
  }

  /** It was answered, or is wanted no more. */
  end(): void {
    this.open--;
  }

  tell(unit: number, hosts: readonly string[]): void {
    for (const host of hosts) {
      const units = this.telling.get(host);
      if (units) units.push(unit);
      else this.telling.set(host, [unit]);
    }
  }

  /** The next request to serve that is still wanted. */
  nextAsk(): Ask | null {
    for (;;) {
      const ask = this.queue[this.queueAt];
      if (!ask) {
        this.queue = [];
        this.queueAt = 0;
        return null;
      }
      this.queueAt++;
      if (this.queueAt > 64 && this.queueAt * 2 > this.queue.length) {
        this.queue = this.queue.slice(this.queueAt);
        this.queueAt = 0;
      }
      if (!ask.cancelled) return ask;
      this.end();
    }
  }
}

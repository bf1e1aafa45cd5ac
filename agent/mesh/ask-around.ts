/** Who in other sites has or fetches a version: as the coordinator says, else its publisher and some. */
import type { HostId, Member } from "../../shared/domain.ts";
import { type Clock, within } from "../../shared/runtime/clock.ts";
import type { Random } from "../../shared/runtime/random.ts";
import type { Store } from "./store/store.ts";
import type { Bitmap } from "./transfer/bitmap.ts";
import type { Exchange } from "./wire/exchange.ts";
import { decodeHoldings } from "./wire/gossip.ts";

/** A version that a host of this site is to bring in. */
export type Looked = { id: string; foreground: boolean; reaches: boolean };
/**
 * `origin`: it is for this site to go to the origin. `ahead`: another host of this site has it, or
 * brings it in since before.
 */
export type Elsewhere = { id: string; origin: boolean; ahead: boolean; hosts: readonly HostId[] };
/** Asks the coordinator, for each version. */
export type AskElsewhere = (wants: readonly Looked[]) => Promise<readonly Elsewhere[]>;

export type AskAroundDeps = {
  clock: Clock;
  random: Random;
  store: Store;
  exchange: Exchange;
  /** Hosts of other sites. */
  others: () => readonly Member[];
  askElsewhere: AskElsewhere;
};

/** So many more than the publisher while the coordinator is away. */
const GUESSED = 3;
const ANSWER_MS = 3_000;
/** So long a site whose turn it is waits for what others have. */
const FIRST_MS = 300;

export class AskAround {
  readonly #deps: AskAroundDeps;
  /** Versions that are being asked for. */
  readonly #asked = new Set<string>();

  constructor(deps: AskAroundDeps) {
    this.#deps = deps;
  }

  /** Tells what hosts have, as they answer, and whose turn at the origin it is. */
  async look(
    wants: readonly Looked[],
    tell: (where: Elsewhere, host?: HostId, have?: Bitmap) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const now = wants.filter(({ id }) => !this.#asked.has(id));
    if (now.length === 0) return;
    for (const { id } of now) this.#asked.add(id);
    try {
      const found = await this.#deps
        .askElsewhere(now)
        .catch(() => now.map((want) => this.#guess(want)));
      const urgent = new Set(now.filter((want) => want.foreground).map((want) => want.id));
      await Promise.all(
        found.map(async (where) => {
          const what = { hash: where.id, foreground: urgent.has(where.id) };
          const answers = Promise.all(
            where.hosts.map(async (host) => {
              const have = await this.#holdings(host, what, signal);
              if (have) tell(where, host, have);
            }),
          );
          // What others have is known first, or the origin is asked for it.
          if (where.origin) await Promise.race([answers, this.#deps.clock.sleep(FIRST_MS)]);
          tell(where);
          await answers;
        }),
      );
    } finally {
      for (const { id } of now) this.#asked.delete(id);
    }
  }

  /** While the coordinator is away each site sees to itself. */
  #guess({ id }: Looked): Elsewhere {
    const { store, others, random } = this.#deps;
    const publisher = store.get(id)?.manifest.publisher;
    const rest = others().map((m) => m.host);
    const hosts = rest.filter((host) => host === publisher);
    for (let tries = 0; tries < GUESSED && rest.length > 0; tries++) {
      const host = random.pick(rest);
      if (!hosts.includes(host)) hosts.push(host);
    }
    return { id, origin: true, ahead: false, hosts };
  }

  async #holdings(
    host: HostId,
    what: { hash: string; foreground: boolean },
    signal: AbortSignal,
  ): Promise<Bitmap | null> {
    const { exchange, clock, others } = this.#deps;
    if (!others().some((m) => m.host === host)) return null;
    const question = { kind: "holdings" as const, bytes: null, ...what };
    const reply = await within(clock, ANSWER_MS, signal, (until) =>
      exchange.ask(host, question, { signal: until }),
    );
    return reply.ok ? decodeHoldings(reply.bytes) : null;
  }
}

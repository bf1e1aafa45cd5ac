/** What other members say they have, on its way to the transfer core; and what this host says. */
import type { Member } from "../../shared/domain.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import { Newest } from "./announcer.ts";
import { askAround } from "./ask-around.ts";
import type { Store } from "./store/store.ts";
import { Bitmap } from "./transfer/bitmap.ts";
import type { Transfer } from "./transfer/transfer.ts";
import { Units } from "./transfer/units.ts";
import type { Said, TransferEvent } from "./transfer/wants.ts";
import type { Exchange } from "./wire/exchange.ts";
import type { Have } from "./wire/frames.ts";
import { decodeAnnouncement } from "./wire/gossip.ts";

export type HearingDeps = {
  clock: Clock;
  log: Log;
  site: string;
  members: () => ReadonlyMap<string, Member>;
  connected: (host: string) => boolean;
  dispatch: (event: TransferEvent) => void;
  /** A neighbour fetches a version: what comes there first is soon told here, and back. */
  fetches: (host: string, manifestHash: string) => void;
};

export class Hearing {
  readonly #deps: HearingDeps;
  readonly #newest = new Newest();
  /** Other hosts of the site. */
  others = 0;

  constructor(deps: HearingDeps) {
    this.#deps = deps;
  }

  membersChanged(): void {
    const { site, members, dispatch } = this.#deps;
    const local = [...members().values()].filter((m) => m.site === site);
    this.others = local.length;
    dispatch({ type: "members", hosts: local.map((m) => m.host) });
  }

  /** By gossip of the site. */
  announcement(bytes: Uint8Array, from: string): void {
    const { log, members, connected, dispatch, fetches } = this.#deps;
    const said = decodeAnnouncement(bytes);
    if (!said || said.host !== from || !members().has(from)) {
      log.warn({ from }, "announcement refused");
      return;
    }
    if (!this.#newest.accepts(said)) return;
    const { whole, manifests } = said;
    const near = connected(from);
    dispatch({ type: "said", host: from, local: true, near, whole, manifests });
    for (const { id, wanting } of manifests) if (near && wanting) fetches(from, id);
  }

  /** On a connection for chunks. */
  have(host: string, { manifest, units }: Have): void {
    const { site, members, dispatch } = this.#deps;
    if (members().get(host)?.site !== site) return;
    dispatch({ type: "have", host, id: manifest, units });
  }

  /** Asks beyond the site's gossip. */
  async askAround(
    id: string,
    store: Store,
    exchange: Exchange,
    signal: AbortSignal,
  ): Promise<void> {
    const version = { id, publisher: store.get(id)?.manifest.publisher };
    const { clock, site, members, dispatch } = this.#deps;
    const around = { members: members().values(), site, exchange, clock };
    for await (const { host, have } of askAround(version, around, signal)) {
      const manifests = [{ id, have, wanting: false, urgent: false, claims: [] }];
      dispatch({ type: "said", host, local: false, whole: false, manifests });
    }
  }

  forget(host: string): void {
    this.#newest.forget(host);
  }
}

/** What this host has to say of a version. */
export function saidOf(id: string, store: Store, transfer: Transfer): Said {
  const tree = store.get(id);
  const have = tree ? Units.of(tree.chunks).whole(tree.have) : new Bitmap(0);
  const wanting = transfer.fetching(id);
  return { id, have, wanting, ...transfer.outside(id), spreading: transfer.spreading(id) };
}

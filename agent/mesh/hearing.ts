/** What other members say they have, on its way to the transfer core; and what this host says. */
import type { Member } from "../../shared/domain.ts";
import type { Log } from "../../shared/runtime/log.ts";
import { Newest } from "./announcer.ts";
import { AskAround, type AskAroundDeps, type Looked } from "./ask-around.ts";
import type { Store } from "./store/store.ts";
import { Bitmap } from "./transfer/bitmap.ts";
import type { Transfer } from "./transfer/transfer.ts";
import { Units } from "./transfer/units.ts";
import type { Said, TransferEvent } from "./transfer/wants.ts";
import type { Have } from "./wire/frames.ts";
import { decodeAnnouncement } from "./wire/gossip.ts";

export type HearingDeps = Omit<AskAroundDeps, "others"> & {
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
  readonly #around: AskAround;
  readonly #newest = new Newest();
  /** Other hosts of the site. */
  others = 0;
  /** Hosts of other sites. */
  #elsewhere: readonly Member[] = [];

  constructor(deps: HearingDeps) {
    this.#deps = deps;
    this.#around = new AskAround({ ...deps, others: () => this.#elsewhere });
  }

  membersChanged(): void {
    const { site, members, dispatch } = this.#deps;
    const { local = [], elsewhere = [] } = Object.groupBy(members().values(), (m) =>
      m.site === site ? "local" : "elsewhere",
    );
    this.others = local.length;
    this.#elsewhere = elsewhere;
    const hosts = local.map((m) => m.host);
    dispatch({ type: "members", hosts, elsewhere: elsewhere.length > 0 });
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
  async look(wants: readonly Looked[], signal: AbortSignal): Promise<void> {
    const { dispatch } = this.#deps;
    await this.#around.look(
      wants,
      ({ id, origin, ahead }, host, have) => {
        if (host === undefined || !have) return dispatch({ type: "turn", id, ours: origin, ahead });
        const manifests = [{ id, have, wanting: false, urgent: false, claims: [] }];
        dispatch({ type: "said", host, local: false, whole: false, manifests });
      },
      signal,
    );
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

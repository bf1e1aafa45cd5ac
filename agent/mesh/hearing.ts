/** What other members say they have, on its way to the transfer core. */
import type { Member } from "../../shared/domain.ts";
import type { Log } from "../../shared/runtime/log.ts";
import { Newest } from "./announcer.ts";
import type { Have } from "./frames.ts";
import { decodeAnnouncement } from "./gossip.ts";
import type { TransferEvent } from "./wants.ts";

export type HearingDeps = {
  log: Log;
  site: string;
  members: () => ReadonlyMap<string, Member>;
  dispatch: (event: TransferEvent) => void;
};

export class Hearing {
  readonly #deps: HearingDeps;
  readonly #newest = new Newest();

  constructor(deps: HearingDeps) {
    this.#deps = deps;
  }

  /** By gossip of the site. */
  announcement(bytes: Uint8Array, from: string): void {
    const { log, members, dispatch } = this.#deps;
    const said = decodeAnnouncement(bytes);
    if (!said || said.host !== from || !members().has(from)) {
      log.warn({ from }, "announcement refused");
      return;
    }
    if (!this.#newest.accepts(said)) return;
    const { whole, manifests } = said;
    dispatch({ type: "said", host: from, local: true, whole, manifests });
  }

  /** On a connection for chunks. */
  have(host: string, { manifest, units }: Have): void {
    const { site, members, dispatch } = this.#deps;
    if (members().get(host)?.site !== site) return;
    for (const unit of units) dispatch({ type: "have", host, id: manifest, unit });
  }

  forget(host: string): void {
    this.#newest.forget(host);
  }
}

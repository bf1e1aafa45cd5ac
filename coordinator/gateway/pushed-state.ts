/** The states that agents should have, each encoded once however many agents it goes to. */
import type { HostId, RouteTable } from "../../shared/domain.ts";
import type { DesiredState, MemberList } from "../../shared/protocol/bodies.ts";
import { encodeBody } from "../../shared/protocol/codec.ts";
import type { MessageOf } from "../../shared/protocol/messages.ts";
import type { Pushed } from "./session.ts";

type Encoded = { readonly version: number; readonly body: Uint8Array };
type Entry = { version: number; message: MessageOf<Pushed>; encoded: Encoded | null | undefined };

export class PushedState {
  readonly #unsendable: (what: Pushed, cause: unknown) => void;
  readonly #desired = new Map<HostId, Entry>();
  #routes: Entry | undefined;
  #members: Entry | undefined;

  /** `unsendable` hears of a state that its own schema or size limit refuses. */
  constructor(unsendable: (what: Pushed, cause: unknown) => void) {
    this.#unsendable = unsendable;
  }

  setDesired(host: HostId, body: DesiredState): void {
    this.#desired.set(host, entry(body.version, { type: "desired", body }));
  }

  setRoutes(body: RouteTable): void {
    this.#routes = entry(body.version, { type: "routes", body });
  }

  setMembers(body: MemberList): void {
    this.#members = entry(body.epoch, { type: "members", body });
  }

  forget(host: HostId): void {
    this.#desired.delete(host);
  }

  /** What is wanted of the host now; null when nothing is, or it cannot be sent. */
  of(what: Pushed, host: HostId): Encoded | null {
    const found = {
      desired: this.#desired.get(host),
      routes: this.#routes,
      members: this.#members,
    };
    const wanted = found[what];
    if (!wanted) return null;
    if (wanted.encoded === undefined) wanted.encoded = this.#encode(wanted);
    return wanted.encoded;
  }

  #encode({ version, message }: Entry): Encoded | null {
    try {
      return { version, body: encodeBody(message) };
    } catch (cause) {
      this.#unsendable(message.type, cause);
      return null;
    }
  }
}

function entry(version: number, message: MessageOf<Pushed>): Entry {
  return { version, message, encoded: undefined };
}

/** Who belongs to the fleet: the allow-list every agent gets, numbered by a rising epoch. */
import type { Member } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Publisher } from "../../shared/publishers.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { AuditTrail } from "./audit.ts";
import type { TrustStore } from "./records.ts";

export type Membership = { epoch: number; members: Member[]; publishers: Publisher[] };
export type EnrolledHost = {
  host: string;
  site: string;
  peerId: string;
  enrolledMs: number;
  revoked: boolean;
  /** Null when it has no certificate that was not revoked. */
  certificateExpiresMs: number | null;
};

export class MemberList {
  readonly #clock: Clock;
  readonly #store: TrustStore;
  readonly #audit: AuditTrail;
  readonly #publishers: () => Publisher[];
  readonly #revokedHandlers: ((host: string) => void)[] = [];
  readonly #membersHandlers: ((membership: Membership) => void)[] = [];
  #cached: Membership | null = null;

  constructor(deps: {
    clock: Clock;
    store: TrustStore;
    audit: AuditTrail;
    /** As of the present epoch. */
    publishers: () => Publisher[];
  }) {
    this.#clock = deps.clock;
    this.#store = deps.store;
    this.#audit = deps.audit;
    this.#publishers = deps.publishers;
  }

  members(): Membership {
    const epoch = this.#store.identities.epoch();
    if (this.#cached?.epoch === epoch) return this.#cached;
    const members = this.#store.identities
      .hosts()
      .filter(({ revokedMs }) => revokedMs === null)
      .map(({ host, site, peerId, meshAddresses, routerUrl }) => ({
        host,
        site,
        peerId,
        meshAddresses,
        routerUrl,
      }));
    this.#cached = { epoch, members, publishers: this.#publishers() };
    return this.#cached;
  }

  /** Also the revoked ones. */
  hosts(): EnrolledHost[] {
    const { identities } = this.#store;
    return identities.hosts().map(({ host, site, peerId, enrolledMs, revokedMs }) => ({
      host,
      site,
      peerId,
      enrolledMs,
      revoked: revokedMs !== null,
      certificateExpiresMs: identities.newestCertificate(host)?.notAfterMs ?? null,
    }));
  }

  /** Where a member can be reached now; the epoch rises only when that is news. */
  async updateMember(
    host: string,
    { meshAddresses, routerUrl }: { meshAddresses: string[]; routerUrl: string | null },
  ): Promise<void> {
    const present = this.members().members.find((member) => member.host === host);
    const same =
      present?.routerUrl === routerUrl &&
      JSON.stringify(present.meshAddresses) === JSON.stringify(meshAddresses);
    if (!present || same) return;
    const changed = await this.#store.commit(() => {
      const news = this.#store.identities.setAddresses(host, meshAddresses, routerUrl);
      if (news) this.#store.identities.raiseEpoch();
      return news;
    });
    if (changed) this.announce();
  }

  /** Ends a host's membership; gives the new epoch. Throws NOT_FOUND for none such. */
  async revoke(host: string, by: { name: string; address: string }): Promise<number> {
    const entry = { actor: by.name, address: by.address, action: "host.revoke", object: host };
    const epoch = await this.#store.commit(() => {
      if (!this.#store.identities.revokeHost(host, Math.round(this.#clock.now()))) return null;
      const risen = this.#store.identities.raiseEpoch();
      this.#audit.append({ ...entry, outcome: "ok", detail: { epoch: risen } });
      return risen;
    });
    if (epoch === null) {
      this.#audit.refused({ ...entry, detail: { code: "NOT_FOUND" } });
      throw new PrestageError("NOT_FOUND", `no member is called ${host}`);
    }
    this.expel(host);
    this.announce();
    return epoch;
  }

  onRevoked(handler: (host: string) => void): void {
    this.#revokedHandlers.push(handler);
  }

  onMembers(handler: (membership: Membership) => void): void {
    this.#membersHandlers.push(handler);
  }

  /** Tells that whoever is connected as this host is no member. */
  expel(host: string): void {
    for (const handler of this.#revokedHandlers) handler(host);
  }

  announce(): void {
    const membership = this.members();
    for (const handler of this.#membersHandlers) handler(membership);
  }
}

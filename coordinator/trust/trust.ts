/**
 * Everything that decides who may do what: the fleet's CA, members, join and API tokens, and the
 * audit trail over all of it. The conductor hands its parts to the gateway and the sessions.
 */
import type { KeyObject } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { Enrolled, EnrollRequest, JoinTokenGiven, Role } from "../../shared/api.ts";
import { publicKeyOf } from "../../shared/manifest.ts";
import { type Clock, every } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import { Access } from "./access.ts";
import { AuditTrail } from "./audit.ts";
import { FleetCa, type Issued } from "./ca.ts";
import { type EnrollLimits, Enrollment } from "./enrollment.ts";
import { type Identified, Identifier, RENEWAL_GRACE_MS } from "./identify.ts";
import { type EnrolledHost, MemberList, type Membership } from "./membership.ts";
import { Publishers } from "./publishers.ts";
import type { TrustStore } from "./records.ts";
import { openSigningKey } from "./signing-key.ts";
import { newJoinToken } from "./tokens.ts";

export type ServerTls = { key: string; cert: string; ca: string };
/** `user:NAME`, `system` …, and from where. */
export type By = { name: string; address: string };

type Deps = { dataDir: string; store: TrustStore; clock: Clock; log: Log };
type Options = {
  /** Names and addresses the coordinator's certificate is for. */
  hostnames: readonly string[];
  fleet: string;
  /** Default: 1 attempt/s per address after a burst of 10 (a rack behind one NAT). */
  enrollLimits?: EnrollLimits;
};

const TICK_MS = 15_000;
const HOUSEKEEPING_MS = 3_600_000;
const KEEP_DEAD_TOKENS_MS = 7 * 24 * 3_600_000;

export class Trust {
  readonly audit: AuditTrail;
  readonly access: Access;
  readonly publishers: Publishers;
  /** For what the coordinator publishes itself. */
  readonly signingKey: KeyObject;
  readonly caPem: string;
  readonly rootHash: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #store: TrustStore;
  readonly #ca: FleetCa;
  readonly #hostnames: readonly string[];
  readonly #members: MemberList;
  readonly #identifier: Identifier;
  readonly #enrollment: Enrollment;
  readonly #tlsHandlers: ((tls: ServerTls) => void)[] = [];
  #server: Issued & { keyPem: string };
  #serverMadeMs: number;
  #housekeepingMs: number;

  private constructor(
    deps: Deps & { ca: FleetCa; server: Issued & { keyPem: string } },
    options: Options,
  ) {
    const { clock, log, store, ca } = deps;
    this.#clock = clock;
    this.#log = log;
    this.#store = store;
    this.#ca = ca;
    this.#server = deps.server;
    this.#serverMadeMs = clock.now();
    this.#housekeepingMs = Number.NEGATIVE_INFINITY;
    this.#hostnames = options.hostnames;
    this.caPem = ca.pem;
    this.rootHash = ca.rootHash;
    const audit = new AuditTrail({ clock, log, store });
    this.audit = audit;
    this.access = new Access({ clock, log, store, audit });
    this.signingKey = openSigningKey(deps.dataDir);
    const publishers = new Publishers({
      clock,
      store,
      audit,
      ownKey: publicKeyOf(this.signingKey),
      changed: () => this.#members.announce(),
    });
    this.publishers = publishers;
    this.#members = new MemberList({ clock, store, audit, publishers: () => publishers.list() });
    this.#identifier = new Identifier({ clock, ca, identities: store.identities, audit });
    this.#enrollment = new Enrollment(
      {
        clock,
        store,
        ca,
        audit,
        onChange: () => this.#members.announce(),
        onReplaced: (host) => this.#members.expel(host),
      },
      options.enrollLimits ?? { ratePerSecond: 1, burst: 10 },
    );
  }

  /** Loads the fleet's CA, or makes it at the first start. See `FleetCa.open` for refusals. */
  static async open(options: Deps & Options): Promise<Trust> {
    const { dataDir, store, clock, fleet, hostnames } = options;
    const mayCreate = store.identities.hosts().length === 0;
    const ca = await FleetCa.open({ dir: dataDir, fleet, clock, mayCreate });
    const server = await ca.issueServer(hostnames);
    return new Trust({ ...options, ca, server }, options);
  }

  /** Keeps the listener's certificate fresh, writes counted refusals, forgets dead rows. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await every(this.#clock, TICK_MS, signal, () => this.#tick());
    } finally {
      await this.audit.flush();
      await this.access.flush();
    }
  }

  // ── certificates ───────────────────────────────────────────────────────────────────────────

  serverTls(): ServerTls {
    return { key: this.#server.keyPem, cert: this.#server.pem, ca: this.caPem };
  }

  /** Called with the new certificate of the listener, about every 12 h. */
  onServerTls(handler: (tls: ServerTls) => void): void {
    this.#tlsHandlers.push(handler);
  }

  enroll(request: EnrollRequest, address: string): Promise<Enrolled> {
    return this.#enrollment.enroll(request, address);
  }

  renew(identity: { host: string; serial: string }, address: string): Promise<Enrolled> {
    return this.#enrollment.renew(identity, address);
  }

  identify(socket: TLSSocket): Identified {
    return this.#identifier.identify(socket);
  }

  /** Also accepts a certificate that expired at most 30 days ago; only for the renewal endpoint. */
  identifyForRenewal(socket: TLSSocket): Identified {
    return this.#identifier.identify(socket, RENEWAL_GRACE_MS);
  }

  /** A one-use token; `text` is given here and nowhere else. */
  async createJoinToken(
    request: { ttlMs?: number; host?: string; site?: string },
    by: By,
  ): Promise<JoinTokenGiven> {
    const { ttlMs = 3_600_000, host = null, site = null } = request;
    const { id, secretHash, text } = newJoinToken(this.rootHash);
    const createdMs = Math.round(this.#clock.now());
    const expiresMs = createdMs + ttlMs;
    await this.#store.commit(() => {
      this.#store.identities.putJoinToken({
        id,
        secretHash,
        host,
        site,
        createdBy: by.name,
        createdMs,
        expiresMs,
      });
      this.audit.append({
        actor: by.name,
        address: by.address,
        action: "join-token.create",
        object: id,
        outcome: "ok",
        detail: { host, site, expiresMs },
      });
    });
    return { id, token: text, expiresMs };
  }

  // ── members ────────────────────────────────────────────────────────────────────────────────

  members(): Membership {
    return this.#members.members();
  }

  hosts(): EnrolledHost[] {
    return this.#members.hosts();
  }

  updateMember(
    host: string,
    addresses: { meshAddresses: string[]; routerUrl: string | null },
  ): Promise<void> {
    return this.#members.updateMember(host, addresses);
  }

  revoke(host: string, by: By): Promise<number> {
    return this.#members.revoke(host, by);
  }

  /** Called after a revocation is durable: close what the host has open. */
  onRevoked(handler: (host: string) => void): void {
    this.#members.onRevoked(handler);
  }

  /** Called after every change of the list. */
  onMembers(handler: (membership: Membership) => void): void {
    this.#members.onMembers(handler);
  }

  // ── people ─────────────────────────────────────────────────────────────────────────────────

  authenticate(bearer: string): { name: string; role: Role } | null {
    return this.access.authenticate(bearer);
  }

  firstAdminToken(options?: { lost?: boolean }): Promise<string | null> {
    return this.access.firstAdminToken(options);
  }

  // ── upkeep ─────────────────────────────────────────────────────────────────────────────────

  async #tick(): Promise<void> {
    this.audit.tick();
    const nowMs = this.#clock.now();
    const halfLifeMs = this.#serverMadeMs + (this.#server.notAfterMs - this.#serverMadeMs) / 2;
    if (nowMs >= halfLifeMs || nowMs < this.#serverMadeMs) await this.#renewServer();
    if (nowMs - this.#housekeepingMs < HOUSEKEEPING_MS) return;
    this.#housekeepingMs = nowMs;
    await this.#store.commit(() => {
      this.#store.identities.pruneCertificates(nowMs - RENEWAL_GRACE_MS);
      this.#store.identities.pruneJoinTokens(nowMs - KEEP_DEAD_TOKENS_MS);
    });
    this.#log.info(this.audit.head(), "audit head");
  }

  async #renewServer(): Promise<void> {
    this.#server = await this.#ca.issueServer(this.#hostnames);
    this.#serverMadeMs = this.#clock.now();
    for (const handler of this.#tlsHandlers) handler(this.serverTls());
    this.#log.info({ untilMs: this.#server.notAfterMs }, "listener has a new certificate");
  }
}

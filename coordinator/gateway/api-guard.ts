/**
 * Who may call which route, decided before a byte of the body is read: by the route's row and by
 * what is stored now. What has no row is refused. Every refusal is audited.
 */
import type { TLSSocket } from "node:tls";
import { addressGroup } from "../../shared/address.ts";
import type { Role } from "../../shared/api.ts";
import { type ErrorCode, PrestageError } from "../../shared/errors.ts";
import { KeyedBuckets } from "../../shared/runtime/buckets.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Asker, RouteAccess } from "./api-route.ts";

type Identified = { host: string; serial: string } | { refused: ErrorCode; reason: string };

export type GuardTrust = {
  authenticate(bearer: string): { name: string; role: Role } | null;
  identify(socket: TLSSocket): Identified;
  identifyForRenewal(socket: TLSSocket): Identified;
  audit: {
    refused(entry: {
      actor: string;
      address: string;
      action: string;
      object: string;
      detail: Record<string, unknown>;
    }): void;
  };
};
export type Knock = {
  method: string;
  /** The route's path as in the table, or what was asked for when there is no such route. */
  path: string;
  /** Undefined: no such route, or a row without a rule. */
  access: RouteAccess | undefined;
  authorization: string | undefined;
  address: string;
  socket: TLSSocket;
};

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };
const PER_CALLER = { ratePerSecond: 200, burst: 400, keys: 1_000 };
/** Callers without a token, and failed attempts to show one. */
const PER_ADDRESS = { ratePerSecond: 50, burst: 500, keys: 10_000 };

export class Guard {
  readonly #trust: GuardTrust;
  readonly #callers: KeyedBuckets;
  readonly #strangers: KeyedBuckets;

  constructor({ clock, trust }: { clock: Clock; trust: GuardTrust }) {
    this.#trust = trust;
    this.#callers = new KeyedBuckets(clock, PER_CALLER);
    this.#strangers = new KeyedBuckets(clock, PER_ADDRESS);
  }

  /** Who is asking. Throws UNAUTHENTICATED, FORBIDDEN, REVOKED or RATE_LIMITED. */
  admit(knock: Knock): Asker {
    const { access, address } = knock;
    if (access === "join-token") return { address, caller: null, agent: null };
    if (access === "public") {
      if (this.#strangers.take(addressGroup(address)))
        return { address, caller: null, agent: null };
      throw new PrestageError("RATE_LIMITED", "too many requests from this address");
    }
    if (access === "agent" || access === "agent-cert") return this.#agent(knock);
    const caller = this.#caller(knock);
    if (!this.#callers.take(caller.name))
      throw this.#refuse(knock, caller.name, "RATE_LIMITED", "too many requests with this token");
    if (access === undefined)
      throw this.#refuse(knock, caller.name, "NOT_FOUND", `there is no ${knock.method} here`);
    if (!(RANK[caller.role] >= RANK[access]))
      throw this.#refuse(
        knock,
        caller.name,
        "FORBIDDEN",
        `${knock.method} ${knock.path} needs the role ${access}, this token has ${caller.role}`,
      );
    return { address, caller, agent: null };
  }

  #agent(knock: Knock): Asker {
    const identified =
      knock.access === "agent-cert"
        ? this.#trust.identifyForRenewal(knock.socket)
        : this.#trust.identify(knock.socket);
    if ("refused" in identified)
      throw new PrestageError(identified.refused, "the client certificate was refused");
    return { address: knock.address, caller: null, agent: identified };
  }

  #caller(knock: Knock): { name: string; role: Role; address: string } {
    const bearer = /^Bearer ([!-~]{1,256})$/i.exec(knock.authorization ?? "")?.[1];
    const known = bearer === undefined ? null : this.#trust.authenticate(bearer);
    if (known) return { name: `user:${known.name}`, role: known.role, address: knock.address };
    if (!this.#strangers.take(addressGroup(knock.address)))
      throw this.#refuse(knock, "unknown", "RATE_LIMITED", "too many attempts from this address");
    throw this.#refuse(
      knock,
      "unknown",
      "UNAUTHENTICATED",
      bearer === undefined ? "no bearer token" : "the bearer token is unknown or expired",
    );
  }

  #refuse(knock: Knock, actor: string, code: ErrorCode, reason: string): PrestageError {
    this.#trust.audit.refused({
      actor,
      address: knock.address,
      action: `api ${knock.method}`,
      object: knock.path,
      detail: { code },
    });
    return new PrestageError(code, reason);
  }
}

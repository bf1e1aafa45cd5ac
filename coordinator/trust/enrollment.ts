/**
 * How a host becomes a member, and stays one. A join token is redeemed by one conditional update
 * in the transaction that also inserts host, certificate and audit row: of any number of parallel
 * redemptions one wins. Unknown, used, expired and ill-bound tokens get one and the same answer.
 */
import { createPublicKey, verify } from "node:crypto";
import { addressGroup } from "../../shared/address.ts";
import { type Enrolled, type EnrollRequest, enrollmentProof } from "../../shared/api.ts";
import { PrestageError } from "../../shared/errors.ts";
import { peerIdOf } from "../../shared/peer-id.ts";
import { KeyedBuckets } from "../../shared/runtime/buckets.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { AuditTrail } from "./audit.ts";
import { CERTIFICATE_LIFE_MS, type FleetCa, type Issued } from "./ca.ts";
import type { TrustStore } from "./records.ts";
import { type JoinToken, parseJoinToken, sameHash } from "./tokens.ts";

export type EnrollLimits = {
  /** Attempts per second that one address may keep up. */
  ratePerSecond: number;
  /** Attempts at once from one address: hosts behind one NAT that start together. */
  burst: number;
};

/** How long after its use a token still answers the host that used it, should its answer be lost. */
const REPLAY_MS = 24 * 3_600_000;

/** A certificate this young is given again instead of another one. */
const RECENT_MS = 60_000;

type Candidate = { request: EnrollRequest; token: JoinToken; address: string; issued: Issued };

export class Enrollment {
  readonly #clock: Clock;
  readonly #store: TrustStore;
  readonly #ca: FleetCa;
  readonly #audit: AuditTrail;
  readonly #buckets: KeyedBuckets;
  readonly #onChange: () => void;
  readonly #onReplaced: (host: string) => void;

  constructor(
    deps: {
      clock: Clock;
      store: TrustStore;
      ca: FleetCa;
      audit: AuditTrail;
      /** The list of members is another one now. */
      onChange: () => void;
      /** The host has a new key: whoever is connected with the old one has to go. */
      onReplaced: (host: string) => void;
    },
    limits: EnrollLimits,
  ) {
    this.#clock = deps.clock;
    this.#store = deps.store;
    this.#ca = deps.ca;
    this.#audit = deps.audit;
    this.#onChange = deps.onChange;
    this.#onReplaced = deps.onReplaced;
    this.#buckets = new KeyedBuckets(deps.clock, limits);
  }

  /** Redeems a join token. Throws RATE_LIMITED, TOKEN_REFUSED, CONFLICT or PROTOCOL. */
  async enroll(request: EnrollRequest, address: string): Promise<Enrolled> {
    if (!this.#buckets.take(addressGroup(address)))
      throw this.#refuse("RATE_LIMITED", "too many attempts from this address", {
        request,
        address,
        reason: "rate",
      });
    const token = parseJoinToken(request.token);
    if (!token) throw this.#refuseToken(request, address, "malformed");
    const publicKey = this.#provenKey(request, token, address);
    const unfit = this.#unfit(token, request);
    if (unfit) throw this.#refuseToken(request, address, unfit, token.id);

    const again = this.#isReplay(token, request) && this.#recent(request.host);
    if (again) return this.#answer(request.host, request.site, again);

    const issued = await this.#ca.issueAgent(request.host, publicKey);
    const candidate = { request, token, address, issued };
    const { refusal, replaced } = await this.#store.commit(() => this.#redeem(candidate));
    if (refusal === "conflict")
      throw this.#refuse(
        "CONFLICT",
        `the name ${request.host} or this key belongs to another host: revoke that one first, or make a token bound to this name`,
        { request, address, reason: "name or key taken", tokenId: token.id },
      );
    if (refusal) throw this.#refuseToken(request, address, refusal, token.id);
    if (replaced) this.#onReplaced(request.host);
    this.#onChange();
    return this.#answer(request.host, request.site, issued.pem);
  }

  /** A new certificate for a host that proved its present one. Throws REVOKED. */
  async renew(
    { host, serial }: { host: string; serial: string },
    address: string,
  ): Promise<Enrolled> {
    const member = this.#store.identities.host(host);
    if (!member || member.revokedMs !== null) throw revoked(host);
    const again = this.#recent(host);
    if (again) return this.#answer(host, member.site, again);
    const issued = await this.#ca.issueAgent(host, keyFrom(member.publicKey));
    await this.#store.commit(() => {
      const present = this.#store.identities.certificate(serial);
      const now = this.#store.identities.host(host);
      if (!present || present.revokedMs !== null || now?.peerId !== present.peerId)
        throw revoked(host);
      this.#keep(host, now.peerId, issued);
      this.#audit.append({
        actor: `host:${host}`,
        address,
        action: "certificate.renew",
        object: host,
        outcome: "ok",
        detail: { serial: issued.serial },
      });
    });
    return this.#answer(host, member.site, issued.pem);
  }

  /** Inside a transaction. No refusal: the host is a member now. */
  #redeem(candidate: Candidate): { refusal: string | null; replaced: boolean } {
    const { request, token, address, issued } = candidate;
    const { identities } = this.#store;
    const { host, site, publicKey, peerId } = request;
    const atMs = Math.round(this.#clock.now());
    const present = identities.host(host);
    const bound = identities.joinToken(token.id)?.host === host;
    const ofPeer = identities.hostOfPeer(peerId);
    const nameTaken = present?.revokedMs === null && present.peerId !== peerId && !bound;
    if (nameTaken || (ofPeer && ofPeer.host !== host)) {
      const usable = this.#unfit(token, request) === null;
      return { refusal: usable ? "conflict" : "used", replaced: false };
    }
    const won = identities.redeemJoinToken({
      id: token.id,
      secretHash: token.secretHash,
      host,
      site,
      publicKey,
      atMs,
    });
    if (!won && !this.#isReplay(token, request))
      return { refusal: this.#unfit(token, request) ?? "used", replaced: false };
    if (won) {
      if (present) identities.revokeCertificates(host, atMs);
      identities.putHost({ host, site, peerId, publicKey, enrolledMs: atMs });
      identities.raiseEpoch();
    }
    this.#keep(host, peerId, issued);
    this.#audit.append({
      actor: `host:${host}`,
      address,
      action: won ? "host.enroll" : "host.enroll-again",
      object: host,
      outcome: "ok",
      detail: { site, peerId, token: token.id, serial: issued.serial },
    });
    return { refusal: null, replaced: won && present !== null && present.peerId !== peerId };
  }

  #keep(host: string, peerId: string, { serial, notAfterMs, pem }: Issued): void {
    this.#store.identities.putCertificate({ serial, host, peerId, notAfterMs, pem });
  }

  /** Why the token is not for this request; null when it is (also: again for the same key). */
  #unfit(token: JoinToken, request: EnrollRequest): string | null {
    const row = this.#store.identities.joinToken(token.id);
    if (!row || !sameHash(row.secretHash, token.secretHash)) return "unknown";
    if (this.#isReplay(token, request)) return null;
    if (row.usedMs !== null) return "used";
    if (row.expiresMs <= this.#clock.now()) return "expired";
    if (row.host !== null && row.host !== request.host) return "other host name";
    if (row.site !== null && row.site !== request.site) return "other site";
    return null;
  }

  /** The same key with the same token again: its first answer was lost. */
  #isReplay(token: JoinToken, request: EnrollRequest): boolean {
    const row = this.#store.identities.joinToken(token.id);
    const member = this.#store.identities.host(request.host);
    if (!row || row.usedMs === null || !sameHash(row.secretHash, token.secretHash)) return false;
    return (
      row.usedPublicKey === request.publicKey &&
      row.usedHost === request.host &&
      this.#clock.now() - row.usedMs <= REPLAY_MS &&
      member?.revokedMs === null &&
      member.publicKey === request.publicKey &&
      member.site === request.site &&
      member.enrolledMs === row.usedMs
    );
  }

  /** The caller's public key, once it has shown that it holds the private one. */
  #provenKey(request: EnrollRequest, token: JoinToken, address: string) {
    const { publicKey, peerId, host, site, proof } = request;
    const key = keyFrom(publicKey);
    const signed = enrollmentProof({
      tokenId: token.id,
      rootHash: this.#ca.rootHash,
      publicKey,
      host,
      site,
    });
    const proven = verify(null, Buffer.from(signed), key, Buffer.from(proof, "base64url"));
    if (!proven || peerIdOf(Buffer.from(publicKey, "base64url")) !== peerId)
      throw this.#refuse("PROTOCOL", "the proof of the host's key does not hold", {
        request,
        address,
        reason: "proof",
        tokenId: token.id,
      });
    return key;
  }

  /** The host's certificate when it is new: asking again and again makes no more of them. */
  #recent(host: string): string | null {
    const newest = this.#store.identities.newestCertificate(host);
    if (!newest) return null;
    const ageMs = this.#clock.now() - (newest.notAfterMs - CERTIFICATE_LIFE_MS);
    return ageMs < RECENT_MS ? newest.pem : null;
  }

  #answer(host: string, site: string, certPem: string): Enrolled {
    return { host, site, fleet: this.#ca.fleet, certPem, caPem: this.#ca.pem };
  }

  #refuseToken(request: EnrollRequest, address: string, reason: string, tokenId?: string) {
    return this.#refuse("TOKEN_REFUSED", "the join token is unknown, used or expired", {
      request,
      address,
      reason,
      ...(tokenId ? { tokenId } : {}),
    });
  }

  #refuse(
    code: "RATE_LIMITED" | "TOKEN_REFUSED" | "CONFLICT" | "PROTOCOL",
    message: string,
    why: { request: EnrollRequest; address: string; reason: string; tokenId?: string },
  ): PrestageError {
    this.#audit.refused({
      actor: "unknown",
      address: why.address,
      action: "host.enroll",
      object: why.request.host,
      detail: { code, reason: why.reason, ...(why.tokenId ? { token: why.tokenId } : {}) },
    });
    return new PrestageError(code, message);
  }
}

function revoked(host: string): PrestageError {
  return new PrestageError("REVOKED", `${host} is not a member of this fleet`);
}

function keyFrom(publicKey: string) {
  try {
    return createPublicKey({
      key: { kty: "OKP", crv: "Ed25519", x: publicKey },
      format: "jwk",
    });
  } catch (cause) {
    throw new PrestageError("PROTOCOL", "no Ed25519 public key", { cause });
  }
}

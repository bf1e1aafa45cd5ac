/**
 * Who is at the other end of a TLS connection. The handshake has proved that the caller holds the
 * certificate's key; everything else is checked here on every new session, against current state
 * and our clock: this fleet's root, the agent role, known, not revoked, in date.
 */
import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { peerIdOf } from "../../shared/peer-id.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { AuditTrail } from "./audit.ts";
import type { FleetCa } from "./ca.ts";
import type { Identities } from "./records.ts";

export type RefusedCode = "UNAUTHENTICATED" | "FORBIDDEN" | "REVOKED";
export type Identified =
  | { host: string; serial: string }
  | { refused: RefusedCode; reason: string };

/** Certificates that ended at most this long ago may still be renewed, and nothing else. */
export const RENEWAL_GRACE_MS = 30 * 24 * 3_600_000;

export class Identifier {
  readonly #clock: Clock;
  readonly #ca: FleetCa;
  readonly #identities: Identities;
  readonly #audit: AuditTrail;

  constructor(deps: { clock: Clock; ca: FleetCa; identities: Identities; audit: AuditTrail }) {
    this.#clock = deps.clock;
    this.#ca = deps.ca;
    this.#identities = deps.identities;
    this.#audit = deps.audit;
  }

  /** The member behind the connection, or why it is refused; refusals are audited. */
  identify(socket: TLSSocket, graceMs = 0): Identified {
    const certificate = socket.getPeerX509Certificate();
    const result = certificate
      ? this.#check(certificate, graceMs)
      : ({ refused: "UNAUTHENTICATED", reason: "no certificate" } as const);
    if ("refused" in result)
      this.#audit.refused({
        actor: "unknown",
        address: socket.remoteAddress ?? "",
        action: graceMs > 0 ? "certificate.renew" : "agent.connect",
        object: certificate?.subjectAltName ?? "",
        detail: { code: result.refused, reason: result.reason },
      });
    return result;
  }

  #check(certificate: X509Certificate, graceMs: number): Identified {
    if (!this.#ca.signed(certificate)) return refuse("UNAUTHENTICATED", "another CA");
    const host = this.#ca.agentNamedIn(certificate);
    if (host === null) return refuse("FORBIDDEN", "not an agent of this fleet");
    const serial = certificate.serialNumber;
    const known = this.#identities.certificate(serial);
    const member = this.#identities.host(host);
    if (!known || !member || known.host !== host) return refuse("REVOKED", "not known");
    if (known.revokedMs !== null || member.revokedMs !== null) return refuse("REVOKED", "revoked");
    if (member.peerId !== peerOf(certificate)) return refuse("REVOKED", "another key by now");
    const nowMs = this.#clock.now();
    if (nowMs < certificate.validFromDate.getTime())
      return refuse("UNAUTHENTICATED", "not valid yet");
    if (nowMs > certificate.validToDate.getTime() + graceMs)
      return refuse("UNAUTHENTICATED", "expired");
    return { host, serial };
  }
}

function refuse(refused: RefusedCode, reason: string): Identified {
  return { refused, reason };
}

/** The peer id of the certificate's key, null when it is no Ed25519 key. */
function peerOf(certificate: X509Certificate): string | null {
  const { x, crv } = certificate.publicKey.export({ format: "jwk" });
  return crv === "Ed25519" && x ? peerIdOf(Buffer.from(x, "base64url")) : null;
}

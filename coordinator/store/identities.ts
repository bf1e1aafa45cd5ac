/**
 * Hosts, their certificates, join tokens, API tokens and the membership epoch. Methods that write
 * are parts of a transaction: the trust room puts what belongs together into one.
 */
import type { Database } from "./open.ts";

export type HostRecord = {
  host: string;
  site: string;
  peerId: string;
  /** Raw Ed25519 public key, base64url. */
  publicKey: string;
  enrolledMs: number;
  revokedMs: number | null;
  meshAddresses: string[];
  routerUrl: string | null;
};
export type CertificateRecord = {
  serial: string;
  host: string;
  peerId: string;
  notAfterMs: number;
  revokedMs: number | null;
  pem: string;
};
export type JoinTokenRecord = {
  id: string;
  secretHash: Uint8Array;
  host: string | null;
  site: string | null;
  createdBy: string;
  createdMs: number;
  expiresMs: number;
  usedMs: number | null;
  usedHost: string | null;
  usedPublicKey: string | null;
};
export type ApiTokenRecord = {
  id: string;
  name: string;
  role: string;
  secretHash: Uint8Array;
  createdMs: number;
  expiresMs: number | null;
  lastUsedMs: number | null;
};

const HOST = `host, site, peer_id AS peerId, public_key AS publicKey, enrolled_ms AS enrolledMs,
  revoked_ms AS revokedMs, mesh_addresses AS meshAddresses, router_url AS routerUrl`;
const CERTIFICATE = `serial, host, peer_id AS peerId, not_after_ms AS notAfterMs,
  revoked_ms AS revokedMs, pem`;
const JOIN_TOKEN = `id, secret_hash AS secretHash, host, site, created_by AS createdBy,
  created_ms AS createdMs, expires_ms AS expiresMs, used_ms AS usedMs, used_host AS usedHost,
  used_public_key AS usedPublicKey`;
const API_TOKEN = `id, name, role, secret_hash AS secretHash, created_ms AS createdMs,
  expires_ms AS expiresMs, last_used_ms AS lastUsedMs`;
const EPOCH = "membership-epoch";

type HostColumns = Omit<HostRecord, "meshAddresses"> & { meshAddresses: string };

export class IdentityTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  // ── hosts ──────────────────────────────────────────────────────────────────────────────────

  host(host: string): HostRecord | null {
    const row = this.#db.get<HostColumns>(`SELECT ${HOST} FROM hosts WHERE host = ?`, host);
    return row ? fromHostColumns(row) : null;
  }

  hostOfPeer(peerId: string): HostRecord | null {
    const row = this.#db.get<HostColumns>(`SELECT ${HOST} FROM hosts WHERE peer_id = ?`, peerId);
    return row ? fromHostColumns(row) : null;
  }

  hosts(): HostRecord[] {
    return this.#db
      .all<HostColumns>(`SELECT ${HOST} FROM hosts ORDER BY host`)
      .map(fromHostColumns);
  }

  /** A host that joins, or joins anew: its revocation, if any, ends here. */
  putHost(row: Pick<HostRecord, "host" | "site" | "peerId" | "publicKey" | "enrolledMs">): void {
    this.#db.run(
      `INSERT INTO hosts (host, site, peer_id, public_key, enrolled_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (host) DO UPDATE SET site = excluded.site, peer_id = excluded.peer_id,
           public_key = excluded.public_key, enrolled_ms = excluded.enrolled_ms,
           revoked_ms = NULL, mesh_addresses = '[]', router_url = NULL`,
      row.host,
      row.site,
      row.peerId,
      row.publicKey,
      row.enrolledMs,
    );
  }

  /** False when that changed nothing. */
  setAddresses(host: string, meshAddresses: string[], routerUrl: string | null): boolean {
    const { changes } = this.#db.run(
      `UPDATE hosts SET mesh_addresses = ?2, router_url = ?3
         WHERE host = ?1 AND (mesh_addresses IS NOT ?2 OR router_url IS NOT ?3)`,
      host,
      JSON.stringify(meshAddresses),
      routerUrl,
    );
    return changes === 1;
  }

  /** Revokes a host and all its certificates; false when it is not there or was revoked. */
  revokeHost(host: string, atMs: number): boolean {
    const { changes } = this.#db.run(
      "UPDATE hosts SET revoked_ms = ? WHERE host = ? AND revoked_ms IS NULL",
      atMs,
      host,
    );
    if (changes === 1) this.revokeCertificates(host, atMs);
    return changes === 1;
  }

  // ── certificates ───────────────────────────────────────────────────────────────────────────

  putCertificate(row: Omit<CertificateRecord, "revokedMs">): void {
    this.#db.run(
      `INSERT INTO certificates (serial, host, peer_id, not_after_ms, pem) VALUES (?, ?, ?, ?, ?)`,
      row.serial,
      row.host,
      row.peerId,
      row.notAfterMs,
      row.pem,
    );
  }

  certificate(serial: string): CertificateRecord | null {
    return (
      this.#db.get<CertificateRecord>(
        `SELECT ${CERTIFICATE} FROM certificates WHERE serial = ?`,
        serial,
      ) ?? null
    );
  }

  newestCertificate(host: string): CertificateRecord | null {
    return (
      this.#db.get<CertificateRecord>(
        `SELECT ${CERTIFICATE} FROM certificates WHERE host = ? AND revoked_ms IS NULL
           ORDER BY not_after_ms DESC LIMIT 1`,
        host,
      ) ?? null
    );
  }

  revokeCertificates(host: string, atMs: number): void {
    this.#db.run(
      "UPDATE certificates SET revoked_ms = ? WHERE host = ? AND revoked_ms IS NULL",
      atMs,
      host,
    );
  }

  /** Forgets certificates that ended before `beforeMs`: unknown ones are refused as well. */
  pruneCertificates(beforeMs: number): number {
    return this.#db.run("DELETE FROM certificates WHERE not_after_ms < ?", beforeMs).changes;
  }

  // ── membership epoch ───────────────────────────────────────────────────────────────────────

  epoch(): number {
    return Number(this.setting(EPOCH) ?? "0");
  }

  raiseEpoch(): number {
    const epoch = this.epoch() + 1;
    this.setSetting(EPOCH, String(epoch));
    return epoch;
  }

  // ── join tokens ────────────────────────────────────────────────────────────────────────────

  putJoinToken(row: Omit<JoinTokenRecord, "usedMs" | "usedHost" | "usedPublicKey">): void {
    this.#db.run(
      `INSERT INTO join_tokens
         (id, secret_hash, host, site, created_by, created_ms, expires_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
      row.id,
      row.secretHash,
      row.host,
      row.site,
      row.createdBy,
      row.createdMs,
      row.expiresMs,
    );
  }

  joinToken(id: string): JoinTokenRecord | null {
    return (
      this.#db.get<JoinTokenRecord>(`SELECT ${JOIN_TOKEN} FROM join_tokens WHERE id = ?`, id) ??
      null
    );
  }

  /** The one conditional write that makes a token single-use: true for exactly one caller. */
  redeemJoinToken(use: {
    id: string;
    secretHash: Uint8Array;
    host: string;
    site: string;
    publicKey: string;
    atMs: number;
  }): boolean {
    const { changes } = this.#db.run(
      `UPDATE join_tokens SET used_ms = ?3, used_host = ?4, used_public_key = ?6
         WHERE id = ?1 AND secret_hash = ?2 AND used_ms IS NULL AND expires_ms > ?3
           AND (host IS NULL OR host = ?4) AND (site IS NULL OR site = ?5)`,
      use.id,
      use.secretHash,
      use.atMs,
      use.host,
      use.site,
      use.publicKey,
    );
    return changes === 1;
  }

  pruneJoinTokens(beforeMs: number): number {
    return this.#db.run("DELETE FROM join_tokens WHERE expires_ms < ?", beforeMs).changes;
  }

  // ── API tokens ─────────────────────────────────────────────────────────────────────────────

  putApiToken(row: Omit<ApiTokenRecord, "lastUsedMs">): void {
    this.#db.run(
      `INSERT INTO api_tokens (id, name, role, secret_hash, created_ms, expires_ms)
         VALUES (?, ?, ?, ?, ?, ?)`,
      row.id,
      row.name,
      row.role,
      row.secretHash,
      row.createdMs,
      row.expiresMs,
    );
  }

  apiToken(id: string): ApiTokenRecord | null {
    return (
      this.#db.get<ApiTokenRecord>(`SELECT ${API_TOKEN} FROM api_tokens WHERE id = ?`, id) ?? null
    );
  }

  apiTokens(): ApiTokenRecord[] {
    return this.#db.all<ApiTokenRecord>(`SELECT ${API_TOKEN} FROM api_tokens ORDER BY name`);
  }

  touchApiToken(id: string, atMs: number): void {
    this.#db.run("UPDATE api_tokens SET last_used_ms = ? WHERE id = ?", atMs, id);
  }

  deleteApiToken(name: string): boolean {
    return this.#db.run("DELETE FROM api_tokens WHERE name = ?", name).changes === 1;
  }

  // ── settings ───────────────────────────────────────────────────────────────────────────────

  setting(key: string): string | null {
    const row = this.#db.get<{ value: string }>("SELECT value FROM settings WHERE key = ?", key);
    return row?.value ?? null;
  }

  setSetting(key: string, value: string): void {
    this.#db.run(
      "INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
      key,
      value,
    );
  }
}

function fromHostColumns(row: HostColumns): HostRecord {
  return { ...row, meshAddresses: JSON.parse(row.meshAddresses) as string[] };
}

/** What the trust room needs kept. The store's tables have this shape. */
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

export type AuditRecord = {
  seq: number;
  atMs: number;
  actor: string;
  address: string;
  action: string;
  object: string;
  outcome: string;
  /** JSON, in the exact text that was hashed. */
  detail: string;
  hash: string;
};

/** Writing methods are parts of a transaction that `TrustStore.commit` makes durable. */
export type Identities = {
  host(host: string): HostRecord | null;
  hostOfPeer(peerId: string): HostRecord | null;
  hosts(): HostRecord[];
  putHost(row: Pick<HostRecord, "host" | "site" | "peerId" | "publicKey" | "enrolledMs">): void;
  setAddresses(host: string, meshAddresses: string[], routerUrl: string | null): boolean;
  revokeHost(host: string, atMs: number): boolean;
  putCertificate(row: Omit<CertificateRecord, "revokedMs">): void;
  certificate(serial: string): CertificateRecord | null;
  newestCertificate(host: string): CertificateRecord | null;
  revokeCertificates(host: string, atMs: number): void;
  pruneCertificates(beforeMs: number): number;
  epoch(): number;
  raiseEpoch(): number;
  putJoinToken(row: Omit<JoinTokenRecord, "usedMs" | "usedHost" | "usedPublicKey">): void;
  joinToken(id: string): JoinTokenRecord | null;
  redeemJoinToken(use: {
    id: string;
    secretHash: Uint8Array;
    host: string;
    site: string;
    publicKey: string;
    atMs: number;
  }): boolean;
  pruneJoinTokens(beforeMs: number): number;
  putApiToken(row: Omit<ApiTokenRecord, "lastUsedMs">): void;
  apiToken(id: string): ApiTokenRecord | null;
  apiTokens(): ApiTokenRecord[];
  touchApiToken(id: string, atMs: number): void;
  deleteApiToken(name: string): boolean;
};

export type AuditRows = {
  last(): AuditRecord | null;
  insert(row: AuditRecord): void;
  newest(limit: number): AuditRecord[];
  after(seq: number, limit: number): AuditRecord[];
};

export type PublisherRecord = {
  /** `hosts`, `host:NAME`, or the name of a key. */
  name: string;
  /** Null for hosts: their keys are in their own records. */
  publicKey: string | null;
  names: string[];
  trusted: boolean;
  changedBy: string;
  changedMs: number;
};

export type PublisherRows = {
  all(): PublisherRecord[];
  put(row: PublisherRecord): void;
  /** Keys that signed published versions, by the host that announced them. */
  signers(): { publicKey: string; publisher: string; versions: number }[];
};

export type TrustStore = {
  commit<T>(work: () => T): Promise<T>;
  identities: Identities;
  audit: AuditRows;
  publishers: PublisherRows;
};

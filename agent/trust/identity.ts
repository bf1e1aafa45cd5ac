/**
 * Who this host is: one Ed25519 key, made here and never sent anywhere, which is at once the key of
 * its TLS certificate and its libp2p identity. In DATA/: `identity.key` (0600), and after joining
 * `identity.pem`, `ca.pem` and `identity.json`.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { HostId, Name } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { peerIdOf } from "../../shared/peer-id.ts";
import { readPrivate, writeDurable } from "./private-files.ts";

const Joined = z.strictObject({ host: HostId, site: Name, fleet: Name });
type Joined = z.infer<typeof Joined>;

/** The host's own key, joined or not. */
export type HostKey = {
  /** The 32 secret bytes, for libp2p. */
  seed: Uint8Array;
  privateKey: KeyObject;
  privateKeyPem: string;
  publicKeyRaw: Uint8Array;
  /** libp2p's text form, `12D3Koo…`. */
  peerId: string;
};

/** What a TLS connection to the coordinator needs; null = the URL's host is the server's name. */
export type LinkTls = { ca: string; cert: string; key: string; serverName: null };

/** A host that has joined: its key and the certificate for it, which renewal replaces. */
export class Identity {
  readonly dir: string;
  readonly host: string;
  readonly site: string;
  readonly fleet: string;
  readonly seed: Uint8Array;
  readonly privateKey: KeyObject;
  readonly publicKeyRaw: Uint8Array;
  readonly peerId: string;
  readonly caPem: string;
  readonly #privateKeyPem: string;
  #certPem: string;

  constructor(dir: string, key: HostKey, joined: Joined & { certPem: string; caPem: string }) {
    this.dir = dir;
    this.host = joined.host;
    this.site = joined.site;
    this.fleet = joined.fleet;
    this.seed = key.seed;
    this.privateKey = key.privateKey;
    this.publicKeyRaw = key.publicKeyRaw;
    this.peerId = key.peerId;
    this.caPem = joined.caPem;
    this.#privateKeyPem = key.privateKeyPem;
    this.#certPem = joined.certPem;
  }

  get certPem(): string {
    return this.#certPem;
  }

  /** Ask anew for each connection: the certificate changes. */
  linkTls(): LinkTls {
    return { ca: this.caPem, cert: this.#certPem, key: this.#privateKeyPem, serverName: null };
  }

  /** Keeps the new certificate on disk, then uses it. Refuses one of another key or host. */
  replaceCertificate(certPem: string): void {
    checkCertificate(certPem, this.privateKey, this);
    writeDurable(join(this.dir, "identity.pem"), certPem, 0o644);
    this.#certPem = certPem;
  }
}

/** The key in the folder, made when there is none. Refuses one that others may read. */
export function loadHostKey(dir: string): HostKey {
  const privateKey = readOrMakeKey(join(dir, "identity.key"));
  const { d, x } = privateKey.export({ format: "jwk" });
  if (!d || !x) throw notEd25519(dir);
  const publicKeyRaw = new Uint8Array(Buffer.from(x, "base64url"));
  return {
    seed: new Uint8Array(Buffer.from(d, "base64url")),
    privateKey,
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    publicKeyRaw,
    peerId: peerIdOf(publicKeyRaw),
  };
}

/** Null when this host has not joined. Refuses a joined state that is broken. */
export function loadIdentity(dir: string): Identity | null {
  const file = join(dir, "identity.json");
  const key = loadHostKey(dir);
  if (!existsSync(file)) return null;
  const read = (name: string) => readFileSync(join(dir, name), "utf8");
  try {
    const joined = Joined.parse(JSON.parse(read("identity.json")));
    const certPem = read("identity.pem");
    checkCertificate(certPem, key.privateKey, joined);
    return new Identity(dir, key, { ...joined, certPem, caPem: read("ca.pem") });
  } catch (cause) {
    throw new PrestageError(
      "CONFIG_INVALID",
      `the joined state in ${dir} is broken: remove ${file} and join again`,
      { cause, details: { dir } },
    );
  }
}

/** What the coordinator gave at enrolment; `identity.json` last, it says that all is there. */
export function saveJoined(dir: string, joined: Joined & { certPem: string; caPem: string }): void {
  const { host, site, fleet, certPem, caPem } = joined;
  writeDurable(join(dir, "ca.pem"), caPem, 0o644);
  writeDurable(join(dir, "identity.pem"), certPem, 0o644);
  writeDurable(join(dir, "identity.json"), `${JSON.stringify({ host, site, fleet })}\n`, 0o644);
}

function checkCertificate(
  certPem: string,
  key: KeyObject,
  { fleet, host }: { fleet: string; host: string },
): void {
  const certificate = new X509Certificate(certPem);
  if (!createPublicKey(key).equals(certificate.publicKey))
    throw new RangeError("the certificate is of another key");
  if (certificate.subjectAltName !== `URI:prestage://${fleet}/agent/${host}`)
    throw new RangeError("the certificate is of another host");
}

function readOrMakeKey(file: string): KeyObject {
  let pem = readPrivate(file);
  if (pem === null) {
    const { privateKey } = generateKeyPairSync("ed25519");
    pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    writeDurable(file, pem, 0o600);
  }
  const key = parseKey(pem, file);
  if (key.asymmetricKeyType !== "ed25519") throw notEd25519(file);
  return key;
}

function parseKey(pem: string, file: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new PrestageError("CONFIG_INVALID", `${file} is no private key: remove it, join again`, {
      cause,
      details: { file },
    });
  }
}

function notEd25519(file: string): PrestageError {
  return new PrestageError("CONFIG_INVALID", `${file} is no Ed25519 key: remove it, join again`, {
    details: { file },
  });
}

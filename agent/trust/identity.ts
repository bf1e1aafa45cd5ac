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

export type Identity = {
  privateKey: { seed: Uint8Array; key: KeyObject; pem: string };
  publicKeyRaw: Uint8Array;
  /** libp2p's text form, `12D3Koo…`. */
  peerId: string;
  /** These are null until the host has joined. */
  certPem: string | null;
  caPem: string | null;
  host: string | null;
  site: string | null;
  fleet: string | null;
};

/** Loads the key, or makes it. Refuses a key that others may read, and half a joined state. */
export function loadIdentity(dir: string): Identity {
  const key = loadKey(join(dir, "identity.key"));
  const { d, x } = key.export({ format: "jwk" });
  if (!d || !x) throw notEd25519(dir);
  const publicKeyRaw = new Uint8Array(Buffer.from(x, "base64url"));
  const joined = loadJoined(dir, key);
  return {
    privateKey: {
      seed: new Uint8Array(Buffer.from(d, "base64url")),
      key,
      pem: key.export({ type: "pkcs8", format: "pem" }).toString(),
    },
    publicKeyRaw,
    peerId: peerIdOf(publicKeyRaw),
    certPem: joined?.certPem ?? null,
    caPem: joined?.caPem ?? null,
    host: joined?.host ?? null,
    site: joined?.site ?? null,
    fleet: joined?.fleet ?? null,
  };
}

/** What the coordinator gave at enrolment; `identity.json` last, it says that all is there. */
export function saveJoined(dir: string, joined: Joined & { certPem: string; caPem: string }): void {
  const { host, site, fleet, certPem, caPem } = joined;
  writeDurable(join(dir, "ca.pem"), caPem, 0o644);
  writeDurable(join(dir, "identity.pem"), certPem, 0o644);
  writeDurable(join(dir, "identity.json"), `${JSON.stringify({ host, site, fleet })}\n`, 0o644);
}

export function saveCertificate(dir: string, certPem: string): void {
  writeDurable(join(dir, "identity.pem"), certPem, 0o644);
}

function loadKey(file: string): KeyObject {
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

function loadJoined(dir: string, key: KeyObject) {
  const file = join(dir, "identity.json");
  if (!existsSync(file)) return null;
  const read = (name: string) => readFileSync(join(dir, name), "utf8");
  try {
    const facts = Joined.parse(JSON.parse(read("identity.json")));
    const certPem = read("identity.pem");
    const certificate = new X509Certificate(certPem);
    const mine = createPublicKey(key).equals(certificate.publicKey);
    if (!mine) throw new RangeError("identity.pem is of another key");
    return { ...facts, certPem, caPem: read("ca.pem") };
  } catch (cause) {
    throw new PrestageError(
      "CONFIG_INVALID",
      `the joined state in ${dir} is broken: remove ${file} and join again`,
      { cause, details: { dir } },
    );
  }
}

function notEd25519(file: string): PrestageError {
  return new PrestageError("CONFIG_INVALID", `${file} is no Ed25519 key: remove it, join again`, {
    details: { file },
  });
}

/**
 * The fleet's own certificate authority: a P-256 root made at the coordinator's first start. It
 * signs short-lived certificates whose URI names fleet, role and id; nothing else is trusted on
 * internal links. The only importer of @peculiar/x509.
 */
import "reflect-metadata";
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
  X509Certificate,
} from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { readPrivate, writeDurable } from "./private-files.ts";

export type Issued = { pem: string; serial: string; notAfterMs: number };

export const CERTIFICATE_LIFE_MS = 24 * 3_600_000;
/** Certificates start this long ago, for agents whose clock is a little behind. */
export const BACKDATE_MS = 10_000;
const ROOT_LIFE_MS = 10 * 365 * 24 * 3_600_000;
const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const ROOT_URI = /^URI:prestage:\/\/([a-z0-9._-]+)\/root$/;

export class FleetCa {
  readonly fleet: string;
  readonly pem: string;
  readonly certificate: X509Certificate;
  /** SHA-256 of the root certificate (DER), hex: what join tokens carry. */
  readonly rootHash: string;
  readonly #clock: Clock;
  readonly #issuer: x509.X509Certificate;
  readonly #signingKey: webcrypto.CryptoKey;

  private constructor(options: {
    fleet: string;
    pem: string;
    clock: Clock;
    signingKey: webcrypto.CryptoKey;
  }) {
    this.fleet = options.fleet;
    this.pem = options.pem;
    this.#clock = options.clock;
    this.#signingKey = options.signingKey;
    this.#issuer = new x509.X509Certificate(options.pem);
    this.certificate = new X509Certificate(options.pem);
    this.rootHash = createHash("sha256").update(this.certificate.raw).digest("hex");
  }

  /**
   * Loads `ca.key` and `ca.pem` from the folder, or makes them when `mayCreate`. Refuses when the
   * key is missing although hosts were enrolled, when others may read it, or when the root is of
   * another fleet.
   */
  static async open(options: {
    dir: string;
    fleet: string;
    clock: Clock;
    mayCreate: boolean;
  }): Promise<FleetCa> {
    const { dir, fleet, clock, mayCreate } = options;
    const keyFile = join(dir, "ca.key");
    const certificateFile = join(dir, "ca.pem");
    let keyPem = readPrivate(keyFile);
    const hasCertificate = existsSync(certificateFile);
    if ((!keyPem || !hasCertificate) && !mayCreate)
      throw new PrestageError(
        "CONFIG_INVALID",
        `${keyPem ? certificateFile : keyFile} is missing although hosts are enrolled: restore it from a copy`,
        { details: { dir } },
      );
    if (!keyPem) {
      keyPem = exportKey(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey);
      writeDurable(keyFile, keyPem, 0o600);
    }
    const key = createPrivateKey(keyPem);
    const signingKey = await importSigningKey(key);
    if (!hasCertificate)
      writeDurable(certificateFile, await makeRoot(fleet, key, signingKey, clock), 0o644);
    const pem = readFileSync(certificateFile, "utf8");
    checkRoot(new X509Certificate(pem), key, fleet, certificateFile);
    return new FleetCa({ fleet, pem, clock, signingKey });
  }

  /** A certificate for an agent's Ed25519 key; good as a client only. */
  issueAgent(host: string, publicKey: KeyObject): Promise<Issued> {
    return this.#issue(publicKey, CLIENT_AUTH, [
      { type: "url", value: `prestage://${this.fleet}/agent/${host}` },
    ]);
  }

  /** A key and certificate for the coordinator's listener; the key lives in memory only. */
  async issueServer(hostnames: readonly string[]): Promise<Issued & { keyPem: string }> {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const issued = await this.#issue(publicKey, SERVER_AUTH, [
      { type: "url", value: `prestage://${this.fleet}/coordinator` },
      ...hostnames.map((name) => ({ type: isIP(name) ? "ip" : "dns", value: name }) as const),
    ]);
    return { ...issued, keyPem: exportKey(privateKey) };
  }

  /** True when this root signed the certificate, whatever its dates. */
  signed(certificate: X509Certificate): boolean {
    return (
      certificate.checkIssued(this.certificate) && certificate.verify(this.certificate.publicKey)
    );
  }

  /** The host an agent certificate of this fleet names, else null. */
  agentNamedIn(certificate: X509Certificate): string | null {
    const prefix = `URI:prestage://${this.fleet}/agent/`;
    const names = certificate.subjectAltName ?? "";
    const isAgent = names.startsWith(prefix) && certificate.keyUsage?.join() === CLIENT_AUTH;
    return isAgent ? names.slice(prefix.length) : null;
  }

  async #issue(
    publicKey: KeyObject,
    usage: string,
    names: { type: "url" | "dns" | "ip"; value: string }[],
  ): Promise<Issued> {
    const nowMs = this.#clock.now();
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: newSerial(),
      subject: "O=Prestage",
      issuer: this.#issuer.subject,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + CERTIFICATE_LIFE_MS),
      publicKey: await importPublicKey(publicKey),
      signingKey: this.#signingKey,
      signingAlgorithm: ECDSA,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([usage], true),
        new x509.SubjectAlternativeNameExtension(names),
        await x509.AuthorityKeyIdentifierExtension.create(this.#issuer.publicKey),
      ],
    });
    const pem = certificate.toString("pem");
    const { serialNumber, validToDate } = new X509Certificate(pem);
    return { pem, serial: serialNumber, notAfterMs: validToDate.getTime() };
  }
}

async function makeRoot(
  fleet: string,
  key: KeyObject,
  signingKey: webcrypto.CryptoKey,
  clock: Clock,
): Promise<string> {
  const publicKey = await importPublicKey(createPublicKey(key));
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: `O=Prestage, CN=${fleet} root`,
    issuer: `O=Prestage, CN=${fleet} root`,
    notBefore: new Date(clock.now() - BACKDATE_MS),
    notAfter: new Date(clock.now() + ROOT_LIFE_MS),
    publicKey,
    signingKey,
    signingAlgorithm: ECDSA,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      new x509.SubjectAlternativeNameExtension([
        { type: "url", value: `prestage://${fleet}/root` },
      ]),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return certificate.toString("pem");
}

function checkRoot(root: X509Certificate, key: KeyObject, fleet: string, file: string): void {
  const named = ROOT_URI.exec(root.subjectAltName ?? "")?.[1];
  if (named !== fleet)
    throw new PrestageError(
      "CONFIG_INVALID",
      `${file} is of fleet ${named ?? "(none)"}, the config says ${fleet}: set fleet back`,
      { details: { file, found: named ?? null, configured: fleet } },
    );
  if (!root.checkPrivateKey(key))
    throw new PrestageError("CONFIG_INVALID", `${file} does not belong to the ca.key beside it`, {
      details: { file },
    });
}

/** 127 random bits with a leading 01, so that its hex text is the same everywhere. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}

function exportKey(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

function importSigningKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const der = key.export({ type: "pkcs8", format: "der" });
  return webcrypto.subtle.importKey("pkcs8", new Uint8Array(der), ECDSA, false, ["sign"]);
}

function importPublicKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const der = new Uint8Array(key.export({ type: "spki", format: "der" }));
  const algorithm = key.asymmetricKeyType === "ed25519" ? { name: "Ed25519" } : ECDSA;
  return webcrypto.subtle.importKey("spki", der, algorithm, true, ["verify"]);
}

/** A fleet CA and its certificates for tests and benches: P-256, host id as URI SAN. */
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import type { TLSSocket } from "node:tls";
import * as x509 from "@peculiar/x509";
import type { ErrorCode } from "../../shared/errors.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY_MS = 86_400_000;

export type TestCertificate = { cert: string; key: string };
export type TestCa = {
  fleet: string;
  caPem: string;
  /** For the coordinator: `localhost`, `127.0.0.1`. */
  server(): Promise<TestCertificate>;
  agent(host: string): Promise<TestCertificate>;
};

export async function makeTestCa(fleet = "test"): Promise<TestCa> {
  const crypto = webcrypto;
  x509.cryptoProvider.set(crypto);
  const caKeys = await generate();
  let serial = 1;
  const validity = {
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
  };
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: "01",
    name: `CN=prestage ${fleet} root`,
    ...validity,
    signingAlgorithm: ALGORITHM,
    keys: caKeys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
    ],
  });

  const issue = async (name: string, eku: string, names: x509.JsonGeneralNames) => {
    const keys = await generate();
    serial++;
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial.toString(16).padStart(8, "0"),
      subject: `CN=${name}`,
      issuer: root.subject,
      ...validity,
      signingAlgorithm: ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: caKeys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.ExtendedKeyUsageExtension([eku], true),
        new x509.SubjectAlternativeNameExtension(names),
      ],
    });
    const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
    return {
      cert: certificate.toString("pem"),
      key: x509.PemConverter.encode(pkcs8, "PRIVATE KEY"),
    };
  };

  return {
    fleet,
    caPem: root.toString("pem"),
    server: () =>
      issue("coordinator", x509.ExtendedKeyUsage.serverAuth, [
        { type: "dns", value: "localhost" },
        { type: "ip", value: "127.0.0.1" },
      ]),
    agent: (host) =>
      issue(host, x509.ExtendedKeyUsage.clientAuth, [
        { type: "url", value: `prestage://${fleet}/agent/${host}` },
      ]),
  };

  function generate() {
    return crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  }
}

/** The host of a peer certificate of this fleet, as the coordinator's trust room reads it. */
export function identifyBySan(fleet: string) {
  const prefix = `URI:prestage://${fleet}/agent/`;
  return (socket: TLSSocket): { host: string } | { refused: ErrorCode } => {
    if (!socket.authorized) return { refused: "UNAUTHENTICATED" };
    const names = (socket.getPeerCertificate().subjectaltname ?? "").split(", ");
    const name = names.find((n) => n.startsWith(prefix));
    return name ? { host: name.slice(prefix.length) } : { refused: "FORBIDDEN" };
  };
}

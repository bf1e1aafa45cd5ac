/**
 * The host's Ed25519 key as a TLS identity. The certificate is only the key's envelope: it is signed
 * by itself, and who it is comes from the key, as the member list says. Refused: the certificate of
 * the fleet's CA, which runs out while the coordinator is away. The only importer of x509 here.
 */
import "reflect-metadata";
import { createPublicKey, type KeyObject, webcrypto, type X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { keyFromSeed } from "../../../shared/manifest.ts";
import { peerIdOf } from "../../../shared/peer-id.ts";

export type Credentials = { cert: string; key: string };

export async function credentialsOf(seed: Uint8Array): Promise<Credentials> {
  const key = keyFromSeed(seed);
  const keys = {
    privateKey: await webcrypto.subtle.importKey("pkcs8", der(key), "Ed25519", false, ["sign"]),
    publicKey: await webcrypto.subtle.importKey(
      "spki",
      der(createPublicKey(key)),
      "Ed25519",
      true,
      ["verify"],
    ),
  };
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: "01",
      name: "CN=prestage",
      notBefore: new Date("2020-01-01T00:00:00Z"),
      notAfter: new Date("2049-12-31T00:00:00Z"),
      signingAlgorithm: "Ed25519",
      keys,
    },
    webcrypto as Crypto,
  );
  const pem = key.export({ type: "pkcs8", format: "pem" });
  return { cert: certificate.toString("pem"), key: pem.toString() };
}

/** The peer id of a certificate's key; null when it is no Ed25519 key. */
export function peerIdOfCertificate(certificate: X509Certificate | undefined): string | null {
  const key = certificate?.publicKey;
  if (key?.asymmetricKeyType !== "ed25519") return null;
  const { x } = key.export({ format: "jwk" });
  return x ? peerIdOf(Buffer.from(x, "base64url")) : null;
}

function der(key: KeyObject): Uint8Array<ArrayBuffer> {
  const bytes =
    key.type === "private"
      ? key.export({ type: "pkcs8", format: "der" })
      : key.export({ type: "spki", format: "der" });
  return Uint8Array.from(bytes);
}

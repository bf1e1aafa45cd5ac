/** The key with which the coordinator signs what it publishes itself, such as models. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { join } from "node:path";
import { readPrivate, writeDurable } from "./private-files.ts";

const KEY_FILE = "publisher.key";

/** Made at the first start (0600). Throws CONFIG_INVALID when others may read it. */
export function openSigningKey(dataDir: string): KeyObject {
  const file = join(dataDir, KEY_FILE);
  const known = readPrivate(file);
  if (known !== null) return createPrivateKey(known);
  const { privateKey } = generateKeyPairSync("ed25519");
  writeDurable(file, privateKey.export({ type: "pkcs8", format: "pem" }).toString(), 0o600);
  return privateKey;
}

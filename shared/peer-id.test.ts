import { generateKeyPairSync } from "node:crypto";
import { publicKeyFromRaw } from "@libp2p/crypto/keys";
import { peerIdFromPublicKey } from "@libp2p/peer-id";
import { expect, test } from "vitest";
import { peerIdOf } from "./peer-id.ts";

test("peer id: is the one libp2p gives (200 keys)", () => {
  for (let i = 0; i < 200; i++) {
    const { publicKey } = generateKeyPairSync("ed25519");
    const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
    expect(peerIdOf(raw)).toBe(peerIdFromPublicKey(publicKeyFromRaw(raw)).toString());
  }
});

test("peer id: refuses what is no Ed25519 key (31 bytes)", () => {
  expect(() => peerIdOf(new Uint8Array(31))).toThrow(RangeError);
});

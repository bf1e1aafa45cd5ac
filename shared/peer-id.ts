/**
 * The libp2p peer id of an Ed25519 key as text, without libp2p: base58btc of the identity multihash
 * of the key's protobuf. Source: libp2p specs, "Peer Ids and Keys".
 */
const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/** Multihash: identity (0x00), 36 bytes; protobuf: type Ed25519 (08 01), data of 32 bytes (12 20). */
const PREFIX = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/** `12D3Koo…` for the 32 raw bytes of an Ed25519 public key. */
export function peerIdOf(publicKeyRaw: Uint8Array): string {
  if (publicKeyRaw.length !== 32) throw new RangeError("an Ed25519 public key has 32 bytes");
  return base58([...PREFIX, ...publicKeyRaw]);
}

function base58(bytes: readonly number[]): string {
  let value = 0n;
  for (const byte of bytes) value = value * 256n + BigInt(byte);
  let text = "";
  for (; value > 0n; value /= 58n) text = ALPHABET[Number(value % 58n)] + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return "1".repeat(zeros) + text;
}

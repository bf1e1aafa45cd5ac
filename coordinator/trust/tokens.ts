/**
 * Secrets people carry: join tokens `ps1.ID.SECRET.ROOTHASH` and API tokens `pst1.ID.SECRET`. The
 * secret has 256 random bits, so its plain SHA-256 may be stored; the id is no secret.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { secret } from "../../shared/runtime/random.ts";

export type JoinToken = { id: string; secretHash: Buffer; rootHash: string };
export type ApiToken = { id: string; secretHash: Buffer };

const JOIN = /^ps1\.([A-Za-z0-9_-]{12})\.([A-Za-z0-9_-]{43})\.([0-9a-f]{64})$/;
const API = /^pst1\.([A-Za-z0-9_-]{12})\.([A-Za-z0-9_-]{43})$/;

export function newJoinToken(rootHash: string): JoinToken & { text: string } {
  const id = secret(9);
  const bits = secret(32);
  return { id, secretHash: hashOf(bits), rootHash, text: `ps1.${id}.${bits}.${rootHash}` };
}

/** Null for what is no join token at all. */
export function parseJoinToken(text: string): JoinToken | null {
  const [, id, bits, rootHash] = JOIN.exec(text) ?? [];
  if (!id || !bits || !rootHash) return null;
  return { id, secretHash: hashOf(bits), rootHash };
}

export function newApiToken(): ApiToken & { text: string } {
  const id = secret(9);
  const bits = secret(32);
  return { id, secretHash: hashOf(bits), text: `pst1.${id}.${bits}` };
}

export function parseApiToken(text: string): ApiToken | null {
  const [, id, bits] = API.exec(text) ?? [];
  return id && bits ? { id, secretHash: hashOf(bits) } : null;
}

export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function hashOf(bits: string): Buffer {
  return createHash("sha256").update(bits).digest();
}

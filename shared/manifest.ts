/**
 * A manifest as text that can be signed: canonical JSON (keys sorted, no white space), so that
 * equal manifests have equal bytes, one hash and one signature. Verifying goes from the cheap and
 * outer to the dear and inner: length → hash → signature → JSON → schema → canonical → meaning.
 * Each refusal has its own `details.reason`.
 */
import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";
import { z } from "zod";
import { Chunk, Manifest, ManifestFile, SignedManifest } from "./domain.ts";
import { PrestageError } from "./errors.ts";

export const MANIFEST_BYTES_MAX = 64 << 20;
export const MANIFEST_FILES_MAX = 250_000;
export const MANIFEST_CHUNKS_MAX = 400_000;

export type ManifestReason =
  | "too-long"
  | "too-many-files"
  | "too-many-chunks"
  | "hash-mismatch"
  | "bad-key"
  | "bad-signature"
  | "not-json"
  | "schema"
  | "bad-mode"
  | "not-canonical"
  | "absolute-path"
  | "path-traversal"
  | "bad-path"
  | "duplicate-path"
  | "case-clash"
  | "file-under-file"
  | "empty-chunk"
  | "chunk-conflict"
  | "file-size"
  | "total-size";

/** `Manifest` with its files checked by hand: a schema takes 5× as long on 200,000 of them. */
const QuickManifest = Manifest.extend({ files: z.custom<ManifestFile[]>(areFiles) });
const CHUNK_BYTES_MAX = Chunk.shape.bytes.maxValue ?? 0;
const PATH_CHARACTERS_MAX = ManifestFile.shape.path.maxLength ?? 0;

function areFiles(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > MANIFEST_FILES_MAX) return false;
  return value.every((f: unknown) => {
    if (typeof f !== "object" || f === null) return false;
    if (!("path" in f && "mode" in f && "bytes" in f && "chunks" in f)) return false;
    const { path, mode, bytes, chunks } = f;
    if (typeof path !== "string" || path === "" || path.length > PATH_CHARACTERS_MAX) return false;
    if (mode !== 0o644 && mode !== 0o755) return false;
    if (!Number.isSafeInteger(bytes) || Number(bytes) < 0) return false;
    return areChunks(chunks);
  });
}

function areChunks(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > MANIFEST_CHUNKS_MAX) return false;
  return value.every((c: unknown) => {
    if (typeof c !== "object" || c === null || !("hash" in c) || !("bytes" in c)) return false;
    const { hash, bytes } = c;
    if (typeof bytes !== "number" || !Number.isInteger(bytes)) return false;
    if (bytes < 0 || bytes > CHUNK_BYTES_MAX || typeof hash !== "string") return false;
    return /^[0-9a-f]{64}$/.test(hash);
  });
}

function refuse(reason: ManifestReason, message: string, where: Record<string, unknown> = {}) {
  const code = reason.startsWith("too-") ? "TOO_LARGE" : "CORRUPT";
  return new PrestageError(code, `manifest refused: ${message}`, { details: { reason, ...where } });
}

/** The Ed25519 private key of a raw 32-byte seed. */
export function keyFromSeed(seed: Uint8Array): KeyObject {
  const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex");
  return createPrivateKey({
    key: Buffer.concat([pkcs8Prefix, seed]),
    format: "der",
    type: "pkcs8",
  });
}

/** The exact bytes that are hashed and signed. Keys stand in code-point order. */
export function canonicalManifest(m: Manifest): string {
  const files = m.files.map((file) => {
    const chunks = file.chunks.map((c) => `{"bytes":${c.bytes},"hash":"${c.hash}"}`).join(",");
    const path = JSON.stringify(file.path);
    return `{"bytes":${file.bytes},"chunks":[${chunks}],"mode":${file.mode},"path":${path}}`;
  });
  const text = JSON.stringify;
  return (
    `{"bytes":${m.bytes},"createdMs":${text(m.createdMs)},"files":[${files.join(",")}],` +
    `"name":${text(m.name)},"originUrl":${text(m.originUrl)},` +
    `"publisher":${text(m.publisher)},"version":${text(m.version)}}`
  );
}

export function manifestHash(body: string): string {
  return hash("sha256", body, "hex");
}

/** Signs with an Ed25519 key. Throws the same refusals as verifying. */
export function signManifest(manifest: Manifest, key: KeyObject): SignedManifest {
  const body = manifestBody(manifest);
  const signature = signBody(body, key);
  return { body, hash: manifestHash(body), signature, publicKey: publicKeyOf(key) };
}

/** What is to be signed. Throws the same refusals as verifying. */
export function manifestBody(manifest: Manifest): string {
  checkMeaning(manifest);
  const body = canonicalManifest(manifest);
  if (Buffer.byteLength(body) > MANIFEST_BYTES_MAX)
    throw refuse("too-long", `body over ${MANIFEST_BYTES_MAX} bytes`);
  return body;
}

/** Ed25519, base64url. */
export function signBody(body: string, key: KeyObject): string {
  return sign(null, Buffer.from(body), key).toString("base64url");
}

/** Raw, base64url. */
export function publicKeyOf(key: KeyObject): string {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return publicKey.export({ format: "jwk" }).x ?? "";
}

/**
 * The manifest, once everything about it was checked. Throws `PrestageError` with a
 * `ManifestReason` in `details.reason`. `expected` is the hash that was asked for.
 */
export function verifyManifest(signed: SignedManifest, expected = signed.hash): Manifest {
  if (signed.body.length > MANIFEST_BYTES_MAX)
    throw refuse("too-long", `body over ${MANIFEST_BYTES_MAX} bytes`);
  if (!SignedManifest.safeParse(signed).success)
    throw refuse("schema", "the envelope is not of the expected shape");
  const computed = manifestHash(signed.body);
  if (computed !== signed.hash || computed !== expected)
    throw refuse("hash-mismatch", "another hash than promised", { computed, expected });
  const key = publicKey(signed.publicKey);
  const signature = Buffer.from(signed.signature, "base64url");
  if (!verify(null, Buffer.from(signed.body), key, signature))
    throw refuse("bad-signature", "the signature is not of this body by this key");
  const manifest = parseBody(signed.body);
  checkMeaning(manifest);
  return manifest;
}

/** The file table without checking the signature: for bodies this host verified before. */
export function parseTrustedBody(body: string): Manifest {
  return parseBody(body);
}

function publicKey(raw: string): KeyObject {
  try {
    return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: raw }, format: "jwk" });
  } catch {
    throw refuse("bad-key", "the public key is no Ed25519 key");
  }
}

function parseBody(body: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    throw refuse("not-json", "the body is no JSON");
  }
  const quick = QuickManifest.safeParse(json);
  const parsed = quick.success ? quick : Manifest.safeParse(json); // which says what is wrong
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const at = issue?.path.join(".") ?? "";
    const reason = issue?.path.at(-1) === "mode" ? "bad-mode" : "schema";
    throw refuse(reason, `${at}: ${issue?.message ?? "not of the expected shape"}`, { at });
  }
  if (canonicalManifest(parsed.data) !== body)
    throw refuse("not-canonical", "the body is not canonical JSON of the known fields");
  return parsed.data;
}

function checkMeaning(manifest: Manifest): void {
  if (manifest.files.length > MANIFEST_FILES_MAX)
    throw refuse("too-many-files", `over ${MANIFEST_FILES_MAX} files`);
  checkPaths(manifest.files.map((f) => f.path));
  const sizes = new Map<string, number>();
  let total = 0;
  let chunks = 0;
  for (const file of manifest.files) {
    let sum = 0;
    chunks += file.chunks.length;
    for (const chunk of file.chunks) {
      if (chunk.bytes === 0)
        throw refuse("empty-chunk", "a chunk of no bytes", { path: file.path });
      const known = sizes.get(chunk.hash);
      if (known !== undefined && known !== chunk.bytes)
        throw refuse("chunk-conflict", "one hash with two sizes", { hash: chunk.hash });
      sizes.set(chunk.hash, chunk.bytes);
      sum += chunk.bytes;
    }
    if (sum !== file.bytes)
      throw refuse("file-size", "the chunks do not add up to the file", { path: file.path });
    total += sum;
  }
  if (chunks > MANIFEST_CHUNKS_MAX)
    throw refuse("too-many-chunks", `over ${MANIFEST_CHUNKS_MAX} chunks`);
  if (total !== manifest.bytes) throw refuse("total-size", "the files do not add up to the whole");
}

function checkPaths(paths: string[]): void {
  const folded = new Map<string, string>();
  for (const path of paths) {
    checkPath(path);
    const alike = fold(path);
    const other = folded.get(alike);
    if (other === path) throw refuse("duplicate-path", "one path twice", { path });
    if (other !== undefined)
      throw refuse("case-clash", "two paths differ in case only", { path, other });
    folded.set(alike, path);
  }
  const folders = new Set<string>();
  let last = "";
  for (const path of paths) {
    const name = path.lastIndexOf("/");
    if (name === last.length && path.startsWith(last)) continue; // the folder of the file before
    last = path.slice(0, Math.max(0, name));
    for (let at = name; at !== -1; at = path.lastIndexOf("/", at - 1)) {
      const folder = path.slice(0, at);
      if (folders.has(folder)) break;
      folders.add(folder);
      if (folded.has(fold(folder)))
        throw refuse("file-under-file", "a file is also a folder", { path });
    }
  }
}

/** Most paths are. */
const FOLDED = /^[ -@[-~]*$/;

/** As file systems that do not tell cases or normal forms apart see it. */
function fold(path: string): string {
  if (FOLDED.test(path)) return path;
  return path.normalize("NFC").toLowerCase();
}

/** Throws CORRUPT unless it is a relative path that stays in its folder. */
export function checkPath(path: string): void {
  if (path.startsWith("/") || /^[A-Za-z]:/.test(path))
    throw refuse("absolute-path", "an absolute path", { path });
  const segments = path.split("/");
  if (segments.some((s) => s === "." || s === ".."))
    throw refuse("path-traversal", "a path that leaves its folder", { path });
  if (segments.some((s) => s === "" || s.length > 255) || hasControl(path) || path.includes("\\"))
    throw refuse("bad-path", "an empty segment, backslash or control character", { path });
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 32 || code === 127) return true;
  }
  return !text.isWellFormed();
}

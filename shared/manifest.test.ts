import { generateKeyPairSync, hash, sign } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Manifest } from "./domain.ts";
import { PrestageError } from "./errors.ts";
import {
  canonicalManifest,
  keyFromSeed,
  manifestHash,
  signManifest,
  verifyManifest,
} from "./manifest.ts";

const key = keyFromSeed(new Uint8Array(32).fill(7));
const chunk = (n: number, bytes = 10) => ({ hash: hash("sha256", `${n}`, "hex"), bytes });
const file = (path: string) => ({
  path,
  mode: 0o644 as const,
  bytes: 20,
  chunks: [chunk(1), chunk(2)],
});
const manifest = (over: Partial<Manifest> = {}): Manifest => ({
  name: "thing",
  version: "1.0",
  createdMs: 5,
  files: [file("a/b.txt"), file("c")],
  bytes: 40,
  originUrl: null,
  publisher: "host-1",
  ...over,
});
/** Signs whatever it is, as a hostile publisher would. */
function signText(body: string) {
  const { publicKey } = signManifest(manifest(), key);
  const signature = sign(null, Buffer.from(body), key).toString("base64url");
  return { body, hash: manifestHash(body), signature, publicKey };
}
const reasonOf = (fn: () => unknown) => {
  try {
    fn();
  } catch (cause) {
    return cause instanceof PrestageError ? cause.details.reason : cause;
  }
  return "accepted";
};
const paths = (...names: string[]) =>
  manifest({ files: names.map(file), bytes: names.length * 20 });

const meaning: [string, Manifest][] = [
  ["absolute-path", paths("/etc/passwd")],
  ["absolute-path", paths("C:/x")],
  ["path-traversal", paths("a/../../b")],
  ["path-traversal", paths("./a")],
  ["bad-path", paths("a//b")],
  ["bad-path", paths("a\\b")],
  ["bad-path", paths("a\u0000b")],
  ["bad-path", paths("a\nb")],
  ["duplicate-path", paths("a", "a")],
  ["case-clash", paths("Readme", "README")],
  ["file-under-file", paths("a", "a/b")],
  ["total-size", manifest({ bytes: 41 })],
  ["file-size", manifest({ files: [{ ...file("a"), bytes: 21 }], bytes: 21 })],
  [
    "empty-chunk",
    manifest({ files: [{ ...file("a"), chunks: [chunk(1, 0), chunk(2, 20)] }], bytes: 20 }),
  ],
  [
    "chunk-conflict",
    manifest({ files: [{ ...file("a"), chunks: [chunk(1, 5), chunk(1, 15)] }], bytes: 20 }),
  ],
];
test.each(meaning)("manifest: refused, %s (%#)", (reason, bad) => {
  expect(reasonOf(() => signManifest(bad, key))).toBe(reason);
  expect(reasonOf(() => verifyManifest(signText(canonicalManifest(bad))))).toBe(reason);
});

const good = signManifest(manifest(), key);
const withMode = (mode: number) =>
  canonicalManifest(manifest()).replace('"mode":420', `"mode":${mode}`);
const setuid = withMode(0o4755);
const device = withMode(0o060644);
const link = withMode(0o120777);
test.each([
  ["hash-mismatch", { ...good, hash: "0".repeat(64) }],
  ["bad-signature", { ...good, signature: Buffer.alloc(64).toString("base64url") }],
  ["bad-key", { ...good, publicKey: "AAAA" }],
  ["too-long", { ...good, body: "x".repeat((64 << 20) + 1) }],
  ["not-json", signText("{")],
  ["bad-mode", signText(setuid)],
  ["bad-mode", signText(device)],
  ["bad-mode", signText(link)],
  ["schema", signText("[]")],
  ["not-canonical", signText(good.body.replace("{", '{"link":"/etc",'))],
  ["not-canonical", signText(good.body.replace(":", ": "))],
])("manifest: refused, %s (%#)", (reason, bad) => {
  expect(reasonOf(() => verifyManifest(bad))).toBe(reason);
});

test("manifest: another key's signature is refused (right body)", () => {
  const other = generateKeyPairSync("ed25519").privateKey;
  const bad = {
    ...good,
    signature: sign(null, Buffer.from(good.body), other).toString("base64url"),
  };
  expect(reasonOf(() => verifyManifest(bad))).toBe("bad-signature");
});

test("manifest: what is signed comes back the same, and its text is stable (any names and sizes)", () => {
  const some = fc.record({
    createdMs: fc.double({ min: 0, max: 1e15, noNaN: true }),
    name: fc.stringMatching(/^[a-z0-9]{1,20}$/),
    path: fc.string({ minLength: 1, maxLength: 40, unit: "grapheme" }),
    sizes: fc.array(fc.integer({ min: 1, max: 1 << 20 }), { maxLength: 20 }),
  });
  fc.assert(
    fc.property(some, ({ createdMs, name, path, sizes }) => {
      const chunks = sizes.map((bytes, i) => ({ ...chunk(i), bytes }));
      const bytes = sizes.reduce((a, b) => a + b, 0);
      const files = [{ path, mode: 0o755 as const, bytes, chunks }];
      const m = manifest({ name, createdMs: createdMs + 0, files, bytes });
      let signed: ReturnType<typeof signManifest>;
      try {
        signed = signManifest(m, key);
      } catch (cause) {
        expect(cause).toBeInstanceOf(PrestageError);
        return;
      }
      const back = verifyManifest(signed);
      expect(back).toEqual(m);
      expect(signManifest(back, key)).toEqual(signed);
    }),
  );
});

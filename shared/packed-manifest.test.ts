import { hash } from "node:crypto";
import { expect, test } from "vitest";
import { keyFromSeed, signManifest, verifyManifest } from "./manifest.ts";
import { packManifest, unpackManifest } from "./packed-manifest.ts";
import { decode, encode } from "./protocol/codec.ts";

const KEY = keyFromSeed(new Uint8Array(32));

function manifestOf(files: number) {
  const bytes = 2_000;
  const described = Array.from({ length: files }, (_, i) => ({
    path: `node_modules/package-${Math.floor(i / 50)}/lib/module-${i}.js`,
    mode: 0o644 as const,
    bytes,
    chunks: [{ hash: hash("sha256", `${i}`, "hex"), bytes }],
  }));
  const about = { name: "app", version: "1", createdMs: 1, originUrl: null, publisher: "a" };
  return { ...about, files: described, bytes: bytes * files };
}

test("packed manifest: a tree of 30,000 files goes in a message, and comes out as it was signed", async () => {
  const signed = signManifest(manifestOf(30_000), KEY);
  const manifest = await packManifest(signed);
  expect(manifest.packed.length).toBeLessThan(signed.body.length / 2);
  const publish = { kind: "publish" as const, manifest, tags: [] };
  const frame = encode({ type: "request", body: { id: 1, body: publish } }, 1);
  const { message } = decode("up", frame);
  expect(message).toMatchObject({ body: { body: publish } });
  const unpacked = await unpackManifest(manifest);
  expect(unpacked).toEqual(signed);
  expect(verifyManifest(unpacked).files).toHaveLength(30_000);
});

test("packed manifest: what is no manifest, or more than one may be, is refused", async () => {
  const { body, ...signed } = signManifest(manifestOf(1), KEY);
  const bomb = await packManifest({ ...signed, body: " ".repeat(70 << 20) });
  await expect(unpackManifest(bomb)).rejects.toMatchObject({ code: "CORRUPT" });
  await expect(unpackManifest({ ...signed, packed: "AAAA" })).rejects.toThrow("unpacked");
  expect((await unpackManifest(await packManifest({ ...signed, body }))).body).toBe(body);
});

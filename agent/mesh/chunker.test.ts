import { createHash } from "node:crypto";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, chunkFile, cut } from "./chunker.ts";

/** Reproducible bytes: AES-like quality is not needed, only no structure. */
function noise(seed: number, bytes: number): Buffer {
  const out = Buffer.alloc(bytes);
  for (let at = 0, i = 0; at < bytes; at += 64, i++)
    createHash("sha512").update(`${seed} ${i}`).digest().copy(out, at);
  return out;
}
function cuts(data: Uint8Array): string[] {
  const parts: string[] = [];
  for (let at = 0; at < data.length; ) {
    const bytes = cut(data.subarray(at));
    parts.push(
      createHash("sha1")
        .update(data.subarray(at, at + bytes))
        .digest("hex"),
    );
    at += bytes;
  }
  return parts;
}
const base = noise(1, 12 << 20);

test("chunker: sizes stay within their bounds and average about a quarter of a MiB", () => {
  const sizes: number[] = [];
  for (let at = 0; at < base.length; at += sizes.at(-1) ?? 0) sizes.push(cut(base.subarray(at)));
  expect(Math.max(...sizes)).toBeLessThanOrEqual(CHUNK_BYTES_MAX);
  expect(Math.min(...sizes.slice(0, -1))).toBeGreaterThanOrEqual(CHUNK_BYTES_MIN);
  const average = base.length / sizes.length;
  expect(average).toBeGreaterThan(180 << 10);
  expect(average).toBeLessThan(400 << 10);
});

test("chunker: the format stays: the same bytes are cut where they always were", () => {
  expect(cut(base)).toMatchInlineSnapshot(`310927`);
  expect(cut(Buffer.alloc(3 << 20))).toBe(CHUNK_BYTES_MAX);
  expect(cut(Buffer.alloc(5))).toBe(5);
});

test("chunker: an insert anywhere changes few chunks", () => {
  const before = new Set(cuts(base));
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: base.length }),
      fc.uint8Array({ minLength: 1, maxLength: 100 }),
      (at, insert) => {
        const after = cuts(Buffer.concat([base.subarray(0, at), insert, base.subarray(at)]));
        expect(after.filter((h) => !before.has(h)).length).toBeLessThanOrEqual(6);
      },
    ),
    { numRuns: 8 },
  );
});

test("chunker: a file read in blocks is cut like the whole (sizes around block borders)", async () => {
  const dir = await mkdtemp(join(tmpdir(), "prestage-chunker-"));
  try {
    for (const bytes of [0, 1, 4 << 20, (4 << 20) + 1, 9_000_001]) {
      const data = base.subarray(0, bytes);
      await writeFile(join(dir, "f"), data);
      const file = await open(join(dir, "f"));
      const sizes: number[] = [];
      for await (const chunk of chunkFile(file)) sizes.push(chunk.bytes);
      await file.close();
      const expected: number[] = [];
      for (let at = 0; at < bytes; at += expected.at(-1) ?? 0)
        expected.push(cut(data.subarray(at)));
      expect(sizes).toEqual(expected);
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

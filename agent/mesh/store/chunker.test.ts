import { createHash } from "node:crypto";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { COARSE, Cutter, cut, cutsAt, FINE, fillFromFile } from "./chunker.ts";

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
    const bytes = cut(data.subarray(at), FINE);
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
  for (let at = 0; at < base.length; at += sizes.at(-1) ?? 0)
    sizes.push(cut(base.subarray(at), FINE));
  expect(Math.max(...sizes)).toBeLessThanOrEqual(FINE.bytesMax);
  expect(Math.min(...sizes.slice(0, -1))).toBeGreaterThanOrEqual(FINE.bytesMin);
  const average = base.length / sizes.length;
  expect(average).toBeGreaterThan(180 << 10);
  expect(average).toBeLessThan(400 << 10);
});

test("chunker: the format stays: the same bytes are cut where they always were", () => {
  expect(cut(base, FINE)).toMatchInlineSnapshot(`310927`);
  expect(cut(Buffer.alloc(3 << 20), FINE)).toBe(FINE.bytesMax);
  expect(cut(Buffer.alloc(5), FINE)).toBe(5);
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
    const cutter = new Cutter();
    for (const bytes of [0, 1, 4 << 20, (4 << 20) + 1, 9_000_001]) {
      const data = base.subarray(0, bytes);
      await writeFile(join(dir, "f"), data);
      const file = await open(join(dir, "f"));
      const sizes: number[] = [];
      const read: Uint8Array[] = [];
      for await (const block of cutter.blocks(fillFromFile(file))) {
        sizes.push(...block.chunks.map((c) => c.bytes));
        read.push(block.data.slice());
      }
      await file.close();
      expect(Buffer.concat(read).equals(data)).toBe(true);
      const expected: number[] = [];
      for (let at = 0; at < bytes; at += expected.at(-1) ?? 0)
        expected.push(cut(data.subarray(at), FINE));
      expect(sizes).toEqual(expected);
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test("chunker: a file of hundreds of GB fits a manifest (coarse cuts average about a MiB)", () => {
  expect(cutsAt(256 << 20)).toBe(COARSE);
  expect(cutsAt((256 << 20) - 1)).toBe(FINE);
  const sizes: number[] = [];
  const data = noise(2, 32 << 20);
  for (let at = 0; at < data.length; at += sizes.at(-1) ?? 0)
    sizes.push(cut(data.subarray(at), COARSE));
  expect(Math.max(...sizes)).toBeLessThanOrEqual(4 << 20);
  expect(data.length / sizes.length).toBeGreaterThan(768 << 10);
});

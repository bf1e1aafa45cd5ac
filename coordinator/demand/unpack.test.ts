import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBytes } from "./unpack.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "prestage-unpack-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const TEXT = Array.from({ length: 60_000 }, (_, i) => `${i} line ${(i * 7919) % 1000}\n`).join("");
const PACK = { gz: gzipSync, zst: zstdCompressSync };

function parts(bytes: Buffer, size: number): Readable {
  const cut = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
  return Readable.from(cut);
}

/** What could be read, and why no more. */
async function read(source: string | Readable, signal?: AbortSignal) {
  const chunks: Uint8Array[] = [];
  let failure: { code?: string; message?: string; details?: Record<string, unknown> } | null = null;
  const bytes = openBytes(source, signal);
  try {
    for await (const chunk of bytes.chunks) chunks.push(chunk);
  } catch (cause) {
    failure = cause as Error;
  }
  return { text: Buffer.concat(chunks).toString(), failure, bytesRead: bytes.bytesRead };
}

describe.each(["gz", "zst"] as const)("unpack: %s", (kind) => {
  const packed = PACK[kind](TEXT);

  test("by content, not by name; a file says how much of it was read", async () => {
    const path = join(dir, `${kind}-without-extension`);
    await writeFile(path, packed);
    expect(await read(path)).toEqual({ text: TEXT, failure: null, bytesRead: packed.length });
    expect(openBytes(path).bytesTotal).toBe(packed.length);
  });

  test("concatenated members are one stream", async () => {
    const many = Buffer.concat([packed, PACK[kind]("between\n"), packed]);
    expect(await read(parts(many, 10_000))).toMatchObject({
      text: `${TEXT}between\n${TEXT}`,
      failure: null,
    });
  });

  test("a cut file gives all before the cut and names the byte", async () => {
    for (const length of [packed.length - 1, Math.floor(packed.length / 2), 20]) {
      const { text, failure } = await read(parts(packed.subarray(0, length), 4096));
      expect(failure).toMatchObject({ code: "CORRUPT", details: { byte: length } });
      expect(failure?.message).toContain(`ends early: after byte ${length}`);
      expect(TEXT.startsWith(text)).toBe(true);
      if (length > 1000) expect(text.length).toBeGreaterThan(TEXT.length / 8);
    }
  });

  test("damage is named with the byte it is near", async () => {
    const damaged = Buffer.from(packed);
    const at = Math.floor(packed.length * 0.75);
    damaged.fill(0xaa, at, at + 64);
    const { failure } = await read(parts(damaged, 4096));
    expect(failure).toMatchObject({ code: "CORRUPT" });
    expect(failure?.message).toMatch(/damaged near byte \d+/);
    expect(Number(failure?.details?.byte)).toBeGreaterThan(at - 70_000);
  });
});

test("unpack: what is not packed comes as it is, however it is cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 64 }),
      fc.integer({ min: 1, max: 9 }),
      async (a, n) => {
        const bytes = Buffer.from(a);
        fc.pre(![0x1f, 0x28, 0x42, 0xfd].includes(bytes[0] ?? 0));
        const chunks = await Array.fromAsync(openBytes(parts(bytes, n)).chunks);
        expect(Buffer.concat(chunks)).toEqual(bytes);
      },
    ),
  );
});

test("unpack: refusals say what to do (bzip2, xz, no file, a folder)", async () => {
  const bzip2 = await read(Readable.from([Buffer.from("BZh91AY")]));
  expect(bzip2.failure?.message).toContain("bzip2 -dc FILE | prestage import -");
  const xz = await read(Readable.from([Buffer.from("\xfd7zXZ\0", "latin1")]));
  expect(xz.failure).toMatchObject({ code: "USAGE" });
  expect(() => openBytes(join(dir, "absent"))).toThrow("no such file");
  expect(() => openBytes(dir)).toThrow("is a folder");
});

test("unpack: an abort ends it with its reason, also in the middle of packed data", async () => {
  const stop = new AbortController();
  const packed = gzipSync(TEXT);
  async function* endless() {
    yield packed.subarray(0, 5000);
    stop.abort(new Error("enough"));
    for (;;) yield packed.subarray(5000, 5010);
  }
  const { failure } = await read(Readable.from(endless()), stop.signal);
  expect(failure?.message).toBe("enough");
});

test("unpack: a reader that has enough leaves nothing open", async () => {
  const source = parts(gzipSync(TEXT), 1000);
  for await (const _ of openBytes(source).chunks) break;
  expect(source.destroyed).toBe(true);
});

import { hash, randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Chunk, Manifest } from "../../shared/domain.ts";
import { decodePatches, encodePatches, packText, runsBetween, unpackText } from "./delta.ts";
import { cut, FINE } from "./store/chunker.ts";

const chunks = new Map<string, Uint8Array>();
const read = async (id: string) => chunks.get(id) ?? null;

function manifest(files: Record<string, Uint8Array>): Manifest {
  const described = Object.entries(files).map(([path, bytes]) => {
    const cutUp: Chunk[] = [];
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + cut(bytes.subarray(at), FINE));
      const id = hash("sha256", piece, "hex");
      chunks.set(id, piece);
      cutUp.push({ hash: id, bytes: piece.length });
      at += piece.length;
    }
    return { path, mode: 0o644 as const, bytes: bytes.length, chunks: cutUp };
  });
  const about = { name: "n", version: "1", createdMs: 0, originUrl: null, publisher: "h" };
  return { ...about, files: described, bytes: 0 };
}
const base = randomBytes(5 << 20);
const insertIn = (data: Uint8Array, bytes: number) =>
  Buffer.concat([data.subarray(0, 70_000), randomBytes(bytes), data.subarray(70_000)]);
const insert = (at: number, what: Uint8Array) =>
  Buffer.concat([base.subarray(0, at), what, base.subarray(at)]);

test("delta: an insert anywhere costs little more than what was inserted", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: base.length }), { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 5_000 }),
      async (places, bytes) => {
        let data: Uint8Array = base;
        for (const at of places)
          data = Buffer.concat([data.subarray(0, at), randomBytes(bytes), data.subarray(at)]);
        const [older, newer] = [manifest({ f: base }), manifest({ f: data })];
        const runs = runsBetween(newer, older);
        const answer = await encodePatches(runs, read, 1 << 20);
        expect(answer.length).toBeLessThan(places.length * bytes + 1_500 * places.length);
        const given = new Set<string>();
        for await (const { chunk, bytes: made } of decodePatches(runs, answer, read)) {
          expect(hash("sha256", made, "hex")).toBe(chunk.hash);
          given.add(chunk.hash);
        }
        const held = new Set(older.files.flatMap((f) => f.chunks.map((c) => c.hash)));
        const fresh = newer.files.flatMap((f) => f.chunks.map((c) => c.hash));
        expect([...new Set(fresh)].filter((h) => !held.has(h) && !given.has(h))).toEqual([]);
      },
    ),
    { numRuns: 12 },
  );
});

test("delta: a long file that was changed all over costs what changed (12 MiB, a kB in each 100)", async () => {
  const long = randomBytes(12 << 20);
  const edited = Buffer.from(long);
  let changed = 0;
  for (let at = 50_000; at < edited.length - 1_000; at += 100_000, changed += 1_000)
    randomBytes(1_000).copy(edited, at);
  const [older, newer] = [manifest({ f: long }), manifest({ f: insertIn(edited, 3_000) })];
  const runs = runsBetween(newer, older);
  const answer = await encodePatches(runs, read, 8 << 20);
  expect(answer.length).toBeLessThan(1.5 * changed + 10_000);
  let made = 0;
  for await (const { chunk, bytes } of decodePatches(runs, answer, read)) {
    expect(hash("sha256", bytes, "hex")).toBe(chunk.hash);
    made += bytes.length;
  }
  expect(made).toBeGreaterThan(11 << 20);
});

test("delta: one look is enough at a long file that is new altogether", async () => {
  const [older, newer] = [
    manifest({ f: randomBytes(12 << 20) }),
    manifest({ f: randomBytes(12 << 20) }),
  ];
  const runs = runsBetween(newer, older);
  const looked: string[] = [];
  const looking = (id: string) => {
    looked.push(id);
    return read(id);
  };
  expect(await encodePatches(runs, looking, 8 << 20)).toEqual(Buffer.alloc(4 * runs.length));
  expect(runs.length).toBeGreaterThan(3);
  const fresh = new Set(runs.slice(1).flatMap((r) => r.fresh.map((c) => c.hash)));
  expect(looked.some((id) => fresh.has(id))).toBe(false);
});

test("delta: nothing is given for what is new altogether, or not here, or over the limit", async () => {
  const older = manifest({ f: base, g: base.subarray(0, 1000) });
  const other = manifest({ f: randomBytes(300_000), h: randomBytes(10) });
  const small = manifest({ f: insert(1e6, Buffer.from("x")), g: base.subarray(0, 1000) });
  const rewritten = runsBetween(other, older);
  const nothing = await encodePatches(rewritten, read, 1 << 20);
  expect(nothing.equals(Buffer.alloc(4 * rewritten.length))).toBe(true);
  const runs = runsBetween(small, older);
  expect((await encodePatches(runs, read, 10)).equals(Buffer.alloc(4 * runs.length))).toBe(true);
  const none = await encodePatches(runs, async () => null, 1 << 20);
  expect(none.equals(Buffer.alloc(4 * runs.length))).toBe(true);
});

test("delta: a peer's answer cannot take more memory than the chunks it stands for", async () => {
  const runs = [{ fresh: [{ hash: "", bytes: 100 }], old: [], follows: false }];
  const bomb = await packText("0".repeat(1e7), "");
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bomb.length);
  const all = Array.fromAsync(decodePatches(runs, Buffer.concat([head, bomb]), read));
  await expect(all).rejects.toThrow();
  await expect(unpackText(bomb, "", 1e6)).rejects.toThrow();
  expect(await unpackText(await packText("like this", "like that"), "like that", 99)).toBe(
    "like this",
  );
});

test("delta: a long text costs little for who has one like it (24 MB, a line changed)", async () => {
  const lines = Array.from({ length: 200_000 }, (_, i) => `${i} ${hash("sha256", `${i}`, "hex")}`);
  const like = lines.map((line) => `${line} ${"x".repeat(50)}`).join("\n");
  lines[3] = "another";
  const text = lines.map((line) => `${line} ${"x".repeat(50)}`).join("\n");
  const packed = await packText(text, like);
  expect(packed.length).toBeLessThan(50_000);
  expect(await unpackText(packed, like, text.length)).toBe(text);
});

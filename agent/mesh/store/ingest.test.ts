import { randomBytes } from "node:crypto";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { verifyManifest } from "../../../shared/manifest.ts";
import { TestFleet, writeTree } from "../mesh.fixture.ts";
import { Cutter, fillFromFile, fillFromPieces } from "./chunker.ts";
import type { IncomingFile } from "./ingest.ts";

const { signal } = new AbortController();

describe("ingest: a stream", () => {
  test("is cut like the file (any pieces)", async () => {
    const dir = await mkdtemp(join(tmpdir(), "prestage-ingest-"));
    const data = randomBytes(9_000_000);
    await writeFile(join(dir, "f"), data);
    const file = await open(join(dir, "f"));
    const wanted: number[] = [];
    const cutter = new Cutter();
    for await (const { chunks } of cutter.blocks(fillFromFile(file)))
      wanted.push(...chunks.map((c) => c.bytes));
    await file.close();
    await rm(dir, { recursive: true });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 5_000_000 }), { minLength: 1, maxLength: 20 }),
        async (sizes) => {
          const pieces = (async function* () {
            let at = 0;
            for (let i = 0; at < data.length; i++) {
              const bytes = sizes[i % sizes.length] ?? 1;
              yield data.subarray(at, at + Math.max(bytes, 10_000));
              at += Math.max(bytes, 10_000);
            }
          })();
          const cuts: number[] = [];
          const parts: Buffer[] = [];
          for await (const { chunks, data } of cutter.blocks(fillFromPieces(pieces))) {
            cuts.push(...chunks.map((c) => c.bytes));
            parts.push(Buffer.from(data));
          }
          expect(cuts).toEqual(wanted);
          expect(Buffer.concat(parts).equals(data)).toBe(true);
        },
      ),
      { numRuns: 15 },
    );
  });
});

describe("ingest: a published directory", () => {
  const fleet = new TestFleet();
  afterEach(() => fleet.close());

  test("tells how far it is of how much; equal files and versions are on the disk once", async () => {
    const a = await fleet.start("a");
    const dir = await fleet.folder();
    const bytes = randomBytes(1 << 20);
    await writeTree(dir, { "one/x": bytes, "two/y": randomBytes(1 << 19) });
    const told: [number, number][] = [];
    const about = { name: "thing", originUrl: null, keep: true };
    const progress = (done: number, size: number) => told.push([done, size]);
    await a.mesh.publish(dir, { ...about, version: "1", progress });
    expect(told[0]?.[0]).toBeGreaterThan(0);
    expect(told[0]?.[1]).toBe(3 << 19);
    const used = a.mesh.store.usedBytes;
    await writeTree(dir, { "two/z": bytes });
    await a.mesh.publish(dir, { ...about, version: "2" });
    expect(a.mesh.store.logicalBytes).toBe((3 << 19) + (5 << 19));
    expect(a.mesh.store.usedBytes).toBeLessThan(used + (1 << 16));
  });
});

describe("ingest: a published stream", () => {
  const fleet = new TestFleet();
  afterEach(() => fleet.close());
  const data = { "b/model.bin": randomBytes(3_000_000), "a.txt": Buffer.from("text") };
  const files = (content: Record<string, Buffer>) =>
    (async function* (): AsyncGenerator<IncomingFile> {
      for (const [path, bytes] of Object.entries(content))
        yield {
          path,
          executable: path.startsWith("b/"),
          read: async function* () {
            yield bytes;
          },
        };
    })();
  const what = {
    name: "thing",
    version: "1",
    originUrl: null,
    keep: true,
    bytesMax: 1e9,
    signal,
    progress: () => {},
  };

  test("is held whole and active, its files as they came", async () => {
    const host = await fleet.start("a");
    const signed = await host.mesh.publishStream(files(data), what);
    const manifest = verifyManifest(signed);
    expect(manifest.files.map((f) => [f.path, f.mode])).toEqual([
      ["a.txt", 0o644],
      ["b/model.bin", 0o755],
    ]);
    const [holding] = host.mesh.holdings();
    expect(holding).toMatchObject({ active: true, bytesHave: manifest.bytes });
    const again = await host.mesh.publish(host.mesh.path(signed.hash) ?? "", {
      name: "thing",
      version: "2",
      originUrl: null,
      keep: false,
    });
    expect(verifyManifest(again).files).toEqual(manifest.files);
  });

  test.each([
    ["TOO_LARGE", { bytesMax: 1_000_000 }, data],
    ["CORRUPT", {}, { "../evil": Buffer.from("x") }],
    ["CORRUPT", {}, { "/etc/evil": Buffer.from("x") }],
  ])("leaves nothing behind when it ends in %s (%#)", async (code, options, content) => {
    const host = await fleet.start("a");
    const published = host.mesh.publishStream(files(content), { ...what, ...options });
    await expect(published).rejects.toMatchObject({ code });
    expect(host.mesh.holdings()).toEqual([]);
  });
});

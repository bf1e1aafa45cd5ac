import { describe, expect, test } from "vitest";
import { PrestageError } from "../../shared/errors.ts";
import { digestOf, INDEX_TYPE, MANIFEST_TYPE } from "../../shared/image-layout.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { SimulatedClock } from "../../test/support/clock.ts";
import { type HeldImage, Images, type ImagesDeps, type ImageVersion } from "./images.ts";

const signal = new AbortController().signal;
const of = { registry: "r.example", repository: "team/app" };
const layer = Buffer.from("the bytes of a layer");
const config = Buffer.from("{}");
const descriptor = (bytes: Buffer, mediaType = "") => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.length,
});
const manifest = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: descriptor(config),
    layers: [descriptor(layer)],
  }),
);
const index = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: INDEX_TYPE,
    manifests: [{ ...descriptor(manifest), platform: { os: "linux", architecture: "amd64" } }],
  }),
);
const [root, image] = [digestOf(index), digestOf(manifest)];

/** A fleet of values: what is held and published, and what the registry has. */
class World {
  readonly clock = new SimulatedClock();
  readonly blobs = new Map([index, manifest, config, layer].map((b) => [digestOf(b), b]));
  held: HeldImage[] = [];
  published: ImageVersion[] = [];
  tables = new Map<string, Map<string, number>>();
  registry: Record<string, string> | "away" = { v1: root };
  canBring = true;
  readonly brought: string[] = [];
  readonly used: string[] = [];
  readonly asked: string[] = [];
  passing: (instead: Promise<unknown>) => AsyncIterable<Uint8Array> = async function* () {};
  bringing: () => Promise<string> = async () => "v-brought";
  readonly images: Images;

  constructor(upstreams: string[] = []) {
    const options = { upstreams, freshMs: 0, patienceMs: 100 };
    this.images = new Images(this.#deps(), options);
  }

  version(manifestHash: string, tag: string | null, digests: string[], active = true): HeldImage {
    const sizes = digests.map((d) => [d, this.blobs.get(d)?.length ?? 0] as const);
    const blobs = new Map(sizes);
    this.tables.set(manifestHash, blobs);
    const named = { ...of, tag, digest: digests[0] ?? "" };
    const bytes = sizes.reduce((sum, [, size]) => sum + size, 0);
    return { manifestHash, image: named, createdMs: this.tables.size, bytes, active, blobs };
  }

  publish(...given: Parameters<World["version"]>): void {
    const { active: _, blobs: __, ...version } = this.version(...given);
    this.published.unshift(version);
  }

  #deps(): ImagesDeps {
    const known = new Map<string, string>();
    return {
      clock: this.clock,
      log: silentLog,
      remembered: {
        get: (key) => known.get(key) ?? null,
        set: (key, digest) => void known.set(key, digest),
      },
      head: async ({ tag }) => {
        this.asked.push(tag ?? "");
        if (this.registry === "away") throw new PrestageError("UNREACHABLE", "away");
        const digest = this.registry[tag ?? ""];
        if (!digest) throw new PrestageError("NOT_FOUND", "no such tag");
        return { digest };
      },
      held: () => this.held,
      catalog: async (repository, digest) =>
        repository.repository === of.repository
          ? this.published.filter((v) => digest === null || v.image.digest === digest)
          : [],
      describe: async (hash) => this.tables.get(hash) ?? new Map(),
      read: (hash, path, { from, to }) => this.#read(hash, path, from, to),
      use: (hash) => void this.used.push(hash),
      manifest: async ({ digest }) => ({
        bytes: this.blobs.get(digest) ?? Buffer.alloc(0),
        mediaType: digest === root ? INDEX_TYPE : MANIFEST_TYPE,
      }),
      passing: (_, instead) => this.passing(instead),
      canBring: () => this.canBring,
      bring: (what, part) => {
        this.brought.push(`${what.tag} ${what.digest === root ? "index" : "image"} ${part}`);
        return this.bringing();
      },
    };
  }

  async *#read(hash: string, path: string, from: number, to: number): AsyncGenerator<Uint8Array> {
    const digest = path.replace("blobs/sha256/", "sha256:");
    const whole = this.tables.get(hash)?.has(digest) || hash === "v-brought";
    if (!whole) throw new PrestageError("NOT_FOUND", `${hash} has no ${digest}`);
    yield (this.blobs.get(digest) ?? Buffer.alloc(0)).subarray(from, to + 1);
  }
}

async function bytesOf(blob: Awaited<ReturnType<Images["blob"]>>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of blob.read({ from: 0, to: blob.bytes - 1 }, { signal }))
    pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

const get = { signal, look: false };
const look = { signal, look: true };

describe("images of the mirror", () => {
  test("come from this host before they come from others, whole ones first", async () => {
    const world = new World();
    world.publish("far", "v1", [root, image, digestOf(config), digestOf(layer)]);
    expect(await world.images.manifest(of, "v1", get)).toMatchObject({
      digest: root,
      from: "mesh",
    });
    expect((await world.images.blob(of, digestOf(layer), { signal })).from).toBe("mesh");
    world.held = [
      world.version("partial", null, [root, image, digestOf(layer)], false),
      world.version("whole", null, [image, digestOf(layer)], true),
    ];
    expect(await world.images.manifest(of, root, get)).toMatchObject({ from: "mesh" });
    const blob = await world.images.blob(of, digestOf(layer), { signal });
    expect([blob.from, blob.manifestHash, await bytesOf(blob)]).toEqual([
      "store",
      "whole",
      layer.toString(),
    ]);
    expect(world.used).toEqual(["far", "far", "partial", "whole"]);
  });

  test("are named by a tag as the registry says, else as last known, else as published", async () => {
    const world = new World();
    world.publish("old", "v1", [image, digestOf(layer)]);
    world.publish("new", "v1", [root, image, digestOf(layer)]);
    world.registry = { v1: image };
    expect((await world.images.manifest(of, "v1", look)).digest).toBe(image);
    world.registry = "away";
    expect((await world.images.manifest(of, "v1", look)).digest).toBe(image);
    const fresh = new World();
    fresh.published = world.published;
    fresh.tables = world.tables;
    fresh.registry = "away";
    expect((await fresh.images.manifest(of, "v1", look)).digest).toBe(root);
    expect(await fresh.images.tags(of)).toEqual(["v1"]);
  });

  test("that nobody knows are left to the registry, which is not even asked (no upstream)", async () => {
    const world = new World();
    await expect(world.images.manifest(of, "v1", get)).rejects.toMatchObject({
      code: "NAME_UNKNOWN",
      status: 404,
    });
    expect(world.asked).toEqual([]);
    world.publish("other", "v0", [image]);
    world.registry = { v0: image, v1: root };
    for (const reference of ["v1", "v9", root])
      await expect(world.images.manifest(of, reference, get)).rejects.toMatchObject({
        code: "MANIFEST_UNKNOWN",
      });
    await expect(world.images.blob(of, digestOf(layer), { signal })).rejects.toMatchObject({
      code: "BLOB_UNKNOWN",
    });
    expect(world.brought).toEqual([]);
  });

  test("of an upstream are brought in once, an index without its images; a look brings nothing", async () => {
    const world = new World([of.registry]);
    expect((await world.images.manifest(of, "v1", look)).from).toBe("registry");
    expect(world.brought).toEqual([]);
    await world.images.manifest(of, "v1", get);
    await world.images.manifest(of, "v1", get);
    await world.images.manifest(of, image, get);
    expect(world.brought).toEqual(["v1 index manifest", "null image whole"]);
    const blob = await world.images.blob(of, digestOf(layer), { signal });
    expect([blob.bytes, blob.from, await bytesOf(blob)]).toEqual([
      layer.length,
      "registry",
      layer.toString(),
    ]);
    expect(world.used).toEqual(["v-brought"]);
  });

  test("are given on while they are brought in, and the rest from the mesh (any share in time)", async () => {
    for (const share of [0, 1, 7, layer.length]) {
      const world = new World([of.registry]);
      const brought = Promise.withResolvers<string>();
      world.bringing = () => brought.promise;
      world.passing = async function* () {
        yield layer.subarray(0, Math.min(share, 3));
        yield layer.subarray(3, Math.max(share, 3));
      };
      await world.images.manifest(of, image, get);
      const blob = await world.images.blob(of, digestOf(layer), { signal });
      const reading = bytesOf(blob);
      if (share === layer.length) expect(await reading).toBe(layer.toString());
      brought.resolve("v-brought");
      expect(await reading).toBe(layer.toString());
      const pieces: Uint8Array[] = [];
      for await (const piece of blob.read({ from: 2, to: 5 }, { signal })) pieces.push(piece);
      expect(Buffer.concat(pieces)).toEqual(layer.subarray(2, 6));
    }
  });

  test("that could not be brought in are left to the registry for a while", async () => {
    const world = new World([of.registry]);
    world.bringing = async () => {
      throw new PrestageError("DISK_FULL", "no room");
    };
    await world.images.manifest(of, image, get);
    await expect(world.images.manifest(of, image, get)).rejects.toMatchObject({ status: 404 });
    await expect(world.images.blob(of, digestOf(layer), { signal })).rejects.toMatchObject({
      status: 404,
    });
    await world.clock.advance(60_000);
    expect((await world.images.manifest(of, image, get)).from).toBe("registry");
    world.canBring = false;
    await world.clock.advance(60_000);
    await expect(world.images.manifest(of, image, get)).rejects.toMatchObject({ status: 404 });
  });

  test("that get another tag are told to the fleet, once", async () => {
    const world = new World([of.registry]);
    world.publish("here", "v1", [image, digestOf(layer)]);
    world.registry = { v1: image, stable: image };
    for (const reference of ["v1", "stable", "stable", image])
      await world.images.manifest(of, reference, get);
    expect(world.brought).toEqual(["stable image manifest"]);
  });

  test("are taken from what holds more than the manifest, also for blobs (many versions)", async () => {
    const world = new World();
    world.publish("whole", "v1", [image, digestOf(config), digestOf(layer)]);
    for (let i = 0; i < 50; i++) world.publish(`tag-${i}`, `t${i}`, [i % 2 ? image : root]);
    await world.images.manifest(of, image, get);
    expect(world.used).toEqual(["whole"]);
    expect((await world.images.blob(of, digestOf(layer), { signal })).manifestHash).toBe("whole");
  });

  test("whose version holds another manifest than it says are refused", async () => {
    const world = new World();
    world.publish("bad", "v1", [root]);
    world.blobs.set(root, Buffer.from(index.toString().replace("amd64", "arm64")));
    await expect(world.images.manifest(of, root, get)).rejects.toMatchObject({ status: 404 });
  });
});

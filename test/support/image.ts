/** Container images made for a test, as an OCI image layout that `skopeo` reads. */
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { seededRandom } from "../../shared/runtime/random.ts";

const OCI = "application/vnd.oci.image";
type Descriptor = { mediaType: string; digest: string; size: number };
export type MadeImage = {
  /** Of the index when there are several platforms, else of the image. */
  digest: string;
  images: { platform: string; digest: string; layers: string[] }[];
  /** All manifests and blobs by digest. */
  blobs: Map<string, Buffer>;
};

/**
 * Writes an image with one file a layer; files of the same number and size are the same bytes.
 * With several platforms the first layer is shared by them.
 */
export async function makeImage(
  dir: string,
  options: { tag: string; platforms: string[]; layerBytes: number[]; seed: number },
): Promise<MadeImage> {
  await mkdir(join(dir, "blobs", "sha256"), { recursive: true });
  const blobs = new Map<string, Buffer>();
  const put = async (mediaType: string, bytes: Buffer): Promise<Descriptor> => {
    const hex = createHash("sha256").update(bytes).digest("hex");
    await writeFile(join(dir, "blobs", "sha256", hex), bytes);
    blobs.set(`sha256:${hex}`, bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const images: MadeImage["images"] = [];
  const manifests: object[] = [];
  for (const [at, platform] of options.platforms.entries()) {
    const tars = options.layerBytes.map((bytes, i) =>
      tarOf(`file-${i}`, noise(bytes, options.seed * 1_000 + i + (i === 0 ? 0 : at * 100))),
    );
    const layers = [];
    for (const tar of tars)
      layers.push(await put(`${OCI}.layer.v1.tar+gzip`, gzipSync(tar, { level: 1 })));
    const [os, architecture, variant] = platform.split("/");
    const diffIds = tars.map((tar) => `sha256:${createHash("sha256").update(tar).digest("hex")}`);
    const text = { os, architecture, variant, rootfs: { type: "layers", diff_ids: diffIds } };
    const config = await put(`${OCI}.config.v1+json`, Buffer.from(JSON.stringify(text)));
    const body = { schemaVersion: 2, mediaType: `${OCI}.manifest.v1+json`, config, layers };
    const manifest = await put(`${OCI}.manifest.v1+json`, Buffer.from(JSON.stringify(body)));
    images.push({ platform, digest: manifest.digest, layers: layers.map((l) => l.digest) });
    manifests.push({
      ...manifest,
      platform: { os, architecture, ...(variant ? { variant } : {}) },
    });
  }
  const annotations = { "org.opencontainers.image.ref.name": options.tag };
  let root = manifests[0];
  if (manifests.length > 1) {
    const body = { schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests };
    root = await put(`${OCI}.index.v1+json`, Buffer.from(JSON.stringify(body)));
  }
  const index = { schemaVersion: 2, manifests: [{ ...root, annotations }] };
  await writeFile(join(dir, "index.json"), JSON.stringify(index));
  await writeFile(join(dir, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  const { digest } = root as Descriptor;
  return { digest, images, blobs };
}

function noise(bytes: number, seed: number): Buffer {
  const random = seededRandom(seed);
  const words = new Uint32Array(Math.ceil(bytes / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.floor(random.next() * 2 ** 32);
  return Buffer.from(words.buffer, 0, bytes);
}

/** A tar archive (ustar) of one file. */
function tarOf(name: string, content: Buffer): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, width: number) => value.toString(8).padStart(width - 1, "0");
  header.write(name, 0);
  header.write(octal(0o644, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(content.length, 12), 124);
  header.write(octal(0, 12), 136);
  header.write("        0", 148);
  header.write("ustar\u000000", 257);
  header.write(
    octal(
      header.reduce((sum, byte) => sum + byte, 0),
      7,
    ),
    148,
  );
  header[154] = 0;
  const padding = Buffer.alloc((512 - (content.length % 512)) % 512);
  return Buffer.concat([header, content, padding, Buffer.alloc(1024)]);
}

/**
 * Manifests of images, and an image as a folder: the OCI image layout. The folder may hold less
 * than an index names (one platform of many), which the specification allows.
 * Source: OCI Image Format Specification 1.1; Docker's image manifest, version 2, schema 2.
 */
import { hash } from "node:crypto";
import { z } from "zod";
import { PrestageError } from "./errors.ts";

export const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
export const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
/** What a registry may answer a request for a manifest with. */
export const MANIFEST_TYPES = [
  INDEX_TYPE,
  MANIFEST_TYPE,
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
export const LAYOUT_FILE = "oci-layout";
export const INDEX_FILE = "index.json";
/** What registries themselves accept at least, and at most. */
export const MANIFEST_BYTES_MAX = 4 << 20;

const LAYOUT_TEXT = `{"imageLayoutVersion":"1.0.0"}`;
const Descriptor = z.object({
  mediaType: z.string().max(256).default(""),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/, "a sha256 digest"),
  size: z.number().int().min(0),
  /** The bytes lie elsewhere, not in the registry (base layers that may not be passed on). */
  urls: z.array(z.string()).optional(),
  platform: z
    .object({ os: z.string(), architecture: z.string(), variant: z.string().optional() })
    .optional(),
});
export type Descriptor = z.infer<typeof Descriptor>;

const Index = z.object({ manifests: z.array(Descriptor).max(1_000) });
const Image = z.object({ config: Descriptor, layers: z.array(Descriptor).max(10_000) });
export type Content =
  | { kind: "index"; manifests: Descriptor[] }
  | { kind: "image"; blobs: Descriptor[] };

/** What a manifest refers to. Throws PROTOCOL for what is no manifest that this knows. */
export function readContent(bytes: Uint8Array, where: string): Content {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw new PrestageError("PROTOCOL", `${where}: the manifest is no JSON`, { cause });
  }
  const index = Index.safeParse(json);
  if (index.success) return { kind: "index", manifests: index.data.manifests };
  const image = Image.safeParse(json);
  if (image.success) return { kind: "image", blobs: [image.data.config, ...image.data.layers] };
  throw new PrestageError("PROTOCOL", `${where}: neither an image nor an index of images`, {
    details: { problem: z.prettifyError(image.error) },
    remedy: "Images of schema 1 have to be pushed again with a client of this decade.",
  });
}

/** The media type that a manifest says of itself, or that its shape tells. */
export function mediaTypeOf(bytes: Uint8Array): string {
  const json: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
  const said = z.object({ mediaType: z.string().max(256) }).safeParse(json);
  if (said.success) return said.data.mediaType;
  return Index.safeParse(json).success ? INDEX_TYPE : MANIFEST_TYPE;
}

export const digestOf = (bytes: Uint8Array) => `sha256:${hash("sha256", bytes, "hex")}`;

export const blobPath = (digest: string) => `blobs/${digest.replace(":", "/")}`;

/** The digest a file of the layout is named by; null for the two others. */
export function digestAt(path: string): string | null {
  const [, hex] = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path) ?? [];
  return hex === undefined ? null : `sha256:${hex}`;
}

/** The two files of a layout that are in no registry, the same bytes whoever makes them. */
export function layoutFile(
  path: string,
  root: { mediaType: string; digest: string; size: number },
  tag: string | null,
): Uint8Array | null {
  if (path === LAYOUT_FILE) return Buffer.from(LAYOUT_TEXT);
  if (path !== INDEX_FILE) return null;
  const { mediaType, digest, size } = root;
  const annotations = tag === null ? {} : { "org.opencontainers.image.ref.name": tag };
  const named = tag === null ? {} : { annotations };
  const manifests = [{ mediaType, digest, size, ...named }];
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests }));
}

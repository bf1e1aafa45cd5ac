/**
 * A signed manifest as it travels between an agent and the coordinator. Its body says the same
 * words for each file: that of 200,000 files is 40 MB of text, a fifth of it when packed.
 */
import { promisify } from "node:util";
import { zstdCompress, zstdDecompress } from "node:zlib";
import { z } from "zod";
import { SignedManifest } from "./domain.ts";
import { PrestageError } from "./errors.ts";
import { MANIFEST_BYTES_MAX } from "./manifest.ts";

export const PACKED_CHARACTERS_MAX = 22 << 20;

export const PackedManifest = SignedManifest.omit({ body: true }).extend({
  /** The body's bytes by Zstandard, base64. */
  packed: z.string().max(PACKED_CHARACTERS_MAX),
});
export type PackedManifest = z.infer<typeof PackedManifest>;

const compressed = promisify(zstdCompress);
const decompressed = promisify(zstdDecompress);

/** Throws TOO_LARGE when it would not fit a message. */
export async function packManifest({ body, ...rest }: SignedManifest): Promise<PackedManifest> {
  const packed = (await compressed(body)).toString("base64");
  if (packed.length > PACKED_CHARACTERS_MAX)
    throw new PrestageError("TOO_LARGE", "the manifest is too long to be sent", {
      details: { hash: rest.hash, characters: packed.length, most: PACKED_CHARACTERS_MAX },
      remedy: "Publish the folders of the tree as artifacts of their own.",
    });
  return { ...rest, packed };
}

/** Not verified. Throws CORRUPT when nothing comes out, or more than a manifest may have. */
export async function unpackManifest({ packed, ...rest }: PackedManifest): Promise<SignedManifest> {
  const bytes = Buffer.from(packed, "base64");
  try {
    const body = await decompressed(bytes, { maxOutputLength: MANIFEST_BYTES_MAX });
    return { ...rest, body: body.toString("utf8") };
  } catch (cause) {
    throw new PrestageError("CORRUPT", "manifest refused: it cannot be unpacked", {
      cause,
      details: { hash: rest.hash },
    });
  }
}

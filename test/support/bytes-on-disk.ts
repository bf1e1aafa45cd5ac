/** How much of a version really lies in a folder, hashed there: what no record can tell. */
import { hash } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { SignedManifest } from "../../shared/domain.ts";
import { verifyManifest } from "../../shared/manifest.ts";

/** Bytes of the chunks that are whole below `root`; 0 when it is not there. */
export async function bytesOnDisk(root: string, signed: SignedManifest): Promise<number> {
  let sum = 0;
  for (const file of verifyManifest(signed).files) {
    const handle = await open(join(root, file.path), "r").catch(() => null); // none of it came yet
    let offset = 0;
    for (const chunk of handle ? file.chunks : []) {
      const bytes = Buffer.alloc(chunk.bytes);
      await handle?.read(bytes, 0, chunk.bytes, offset);
      offset += chunk.bytes;
      if (hash("sha256", bytes, "hex") === chunk.hash) sum += chunk.bytes;
    }
    await handle?.close();
  }
  return sum;
}

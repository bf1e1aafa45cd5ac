/**
 * What a version has in common with older ones here: equal files become one more link (no byte is
 * copied), equal ranges of changed files are copied and verified on the way.
 */
import type { ManifestFile } from "../../../shared/domain.ts";
import type { Tree } from "./trees.ts";

export type Place = { tree: Tree; position: number };
export type Places = (chunkHash: string) => readonly Place[];

/** A chunk like zeros lies in many files: so many are looked at. */
export const LOOKED_AT_MAX = 64;

/** An activated file of another version that is equal, and its index there. */
export function equalFile(
  file: ManifestFile,
  places: Places,
): { donor: Tree; index: number } | null {
  const [first] = file.chunks;
  if (!first) return null;
  for (const { tree: donor, position } of places(first.hash).slice(-LOOKED_AT_MAX)) {
    if (!donor.active) continue;
    const index = donor.fileOf(position);
    const other = donor.manifest.files[index];
    if (donor.firstOf(index) !== position || other?.mode !== file.mode) continue;
    if (other.bytes !== file.bytes || other.chunks.length !== file.chunks.length) continue;
    const same = file.chunks.every((chunk, i) => chunk.hash === other.chunks[i]?.hash);
    if (same) return { donor, index };
  }
  return null;
}

/** Links every file that another version has alike. Returns how many bytes. */
export async function linkEqual(tree: Tree, places: Places): Promise<number> {
  if (tree.placed) return 0;
  let bytes = 0;
  for (const [index, file] of tree.manifest.files.entries()) {
    if (tree.have.has(tree.firstOf(index)) || file.bytes === 0) continue;
    const found = equalFile(file, places);
    if (found && (await tree.link(index, found.donor, found.index))) bytes += file.bytes;
  }
  return bytes;
}

/** Copies the missing chunks that other versions hold. Returns how many bytes. */
export async function copyEqual(
  tree: Tree,
  read: (chunkHash: string) => Promise<Uint8Array | null>,
  holds: (chunkHash: string) => boolean,
): Promise<number> {
  let bytes = 0;
  for (let position = 0; position < tree.chunks.length; position++) {
    const chunk = tree.chunks[position];
    if (!chunk || tree.have.has(position) || !holds(chunk.hash)) continue;
    const data = await read(chunk.hash);
    if (data && (await tree.write(position, data))) bytes += chunk.bytes;
  }
  return bytes;
}

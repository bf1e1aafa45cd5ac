/**
 * What an earlier process left in the folders of a store: its versions, each as far as its journal
 * knows it; what is of none goes to the trash. A version that the disk cannot read now is left as
 * it is: a later start may.
 */
import { dirname, join } from "node:path";
import { type Manifest, SignedManifest } from "../../../shared/domain.ts";
import { manifestHash, parseTrustedBody } from "../../../shared/manifest.ts";
import type { Clock } from "../../../shared/runtime/clock.ts";
import type { Log } from "../../../shared/runtime/log.ts";
import { codeOf, type Disk, everyLimit, ignoreMissing, syncPath } from "./disk.ts";
import { type Meta, newMeta, parseMeta } from "./meta.ts";
import type { Trash } from "./trash.ts";
import type { Tree } from "./trees.ts";

const HASH = /^[0-9a-f]{64}$/;
const READ_AT_ONCE = 8;

export type TakeOverDeps = {
  disk: Disk;
  log: Log;
  clock: Clock;
  trash: Trash;
  tree: (hash: string, manifest: Manifest, placed: boolean) => Tree;
};
type Version = { tree: Tree; meta: Meta };
type Present = { partial: Set<string>; trees: Set<string> };

/** Makes the folders too. The versions come in the order they were made in. */
export async function takeOver(dir: string, deps: TakeOverDeps): Promise<Version[]> {
  const { disk, log, trash } = deps;
  await makeFolders(dir, deps);
  const [partial, trees, names] = await Promise.all(
    ["partial", "trees", "manifests"].map((folder) => disk.readdir(join(dir, folder))),
  );
  const present = { partial: new Set(partial), trees: new Set(trees) };
  const versions = new Map<string, Version>();
  const unread = new Set<string>();
  await everyLimit(names ?? [], READ_AT_ONCE, async (name) => {
    const id = name.replace(/\.json$/, "");
    try {
      const version = await read(dir, name, id, present, deps);
      if (version) versions.set(id, version);
    } catch (cause) {
      if (codeOf(cause) !== "EIO") throw cause;
      log.error({ cause, manifestHash: id }, "version cannot be read, left as it is");
      unread.add(id);
    }
    return true;
  });
  for (const [folder, ids] of Object.entries(present))
    for (const id of ids) {
      const root = join(dir, folder, id);
      if (!unread.has(id) && versions.get(id)?.tree.root !== root) await trash.put(root);
    }
  const dropUnless = async (folder: string, isOf: (version: Version | undefined) => boolean) => {
    for (const name of await disk.readdir(join(dir, folder))) {
      const id = name.replace(/\.json$/, "");
      if (!unread.has(id) && !isOf(versions.get(id)))
        await disk.rm(join(dir, folder, name), { force: true });
    }
  };
  await dropUnless("state", (version) => version?.tree.placed === false);
  await dropUnless("meta", (version) => version !== undefined);
  return [...versions.values()].sort(
    (a, b) => a.tree.manifest.createdMs - b.tree.manifest.createdMs,
  );
}

async function makeFolders(dir: string, { disk, trash }: TakeOverDeps): Promise<void> {
  await trash.open();
  await trash.put(join(dir, "intake"));
  for (const folder of ["manifests", "partial", "trees", "meta", "intake"])
    await disk.mkdir(join(dir, folder), { recursive: true });
  // Synced once, before `state` is made: on a busy disk it takes seconds.
  if (!(await disk.readdir(dir)).includes("state"))
    for (const folder of [dir, dirname(dir)]) await syncPath(disk, folder);
  await disk.mkdir(join(dir, "state"), { recursive: true });
}

/** Null when it is no version. */
async function read(
  dir: string,
  name: string,
  id: string,
  present: Present,
  { disk, log, clock, tree: make }: TakeOverDeps,
): Promise<Version | null> {
  const path = join(dir, "manifests", name);
  const placed = present.trees.has(id);
  const here = HASH.test(id) && (placed || present.partial.has(id));
  const text = here && (await disk.readFile(path, "utf8"));
  const manifest = text ? manifestIn(text, id) : null;
  if (!manifest) {
    log.info({ name }, "left-over manifest dropped");
    await disk.rm(path, { force: true });
    return null;
  }
  const tree = make(id, manifest, placed);
  await tree.recover();
  const meta = await disk.readFile(join(dir, "meta", `${id}.json`), "utf8").catch(ignoreMissing);
  return { tree, meta: parseMeta(meta) ?? newMeta(clock.now(), 0) };
}

/** It was verified before it was written: the same bytes need no second look. */
function manifestIn(text: string, hash: string): Manifest | null {
  try {
    const { body } = SignedManifest.parse(JSON.parse(text));
    return manifestHash(body) === hash ? parseTrustedBody(body) : null;
  } catch {
    return null; // torn or foreign: the caller drops it and says so
  }
}

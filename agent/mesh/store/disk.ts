/**
 * The file system as the store uses it: `node:fs/promises`, and in tests one that fails or loses
 * power at a chosen call. Also what its failures mean to people.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { PrestageError } from "../../../shared/errors.ts";
import type { Log } from "../../../shared/runtime/log.ts";

export type Disk = Pick<
  typeof fs,
  | "chmod"
  | "copyFile"
  | "link"
  | "lstat"
  | "mkdir"
  | "open"
  | "readdir"
  | "readFile"
  | "rename"
  | "rm"
  | "stat"
  | "statfs"
  | "writeFile"
> & {
  /** All that was written to the file system of a folder is on it; false: it cannot be told so. */
  syncAll(folder: string): Promise<boolean>;
};
export const nodeDisk: Disk = {
  ...fs,
  /** `syncfs` by the system's own tool: one commit where there would be one for each file. */
  syncAll: (folder) =>
    new Promise((resolve) => {
      execFile("sync", ["-f", folder], (failure) => resolve(failure === null));
    }),
};

const FULL = new Map([
  ["ENOSPC", "no space is left on the file system of"],
  ["EDQUOT", "the disk quota of the agent's user is used up on the file system of"],
  ["EIO", "the disk fails (input/output error) under"],
  ["EROFS", "the file system is read-only that holds"],
]);
const REMEDIES = new Map([
  ["ENOSPC", "free space there or lower store.quotaBytes"],
  ["EDQUOT", "free space or raise the user's disk quota"],
  ["EIO", "check the disk (dmesg, smartctl) and put the data folder on a sound one"],
  ["EROFS", "mount it writable again"],
]);

export function codeOf(cause: unknown): string | null {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : null;
}

/** DISK_FULL with the place and the remedy when the disk is why it failed; else the cause. */
export function diskError(cause: unknown, dir: string): unknown {
  const code = codeOf(cause);
  const what = FULL.get(code ?? "");
  if (!what || cause instanceof PrestageError) return cause;
  return new PrestageError("DISK_FULL", `${what} ${dir}`, {
    cause,
    details: { dir, errno: code },
    remedy: `On ${dir}: ${REMEDIES.get(code ?? "")}; what was under way goes on by itself then.`,
  });
}

export function ignoreMissing(cause: unknown): null {
  if (codeOf(cause) === "ENOENT") return null;
  throw cause;
}

/** Of a folder its names, of a file its content. */
export async function syncPath(disk: Disk, path: string): Promise<void> {
  const handle = await disk.open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Whole or not at all, also over a power cut. */
export async function writeDurably(disk: Disk, path: string, text: string): Promise<void> {
  await writeWhole(disk, path, text, { synced: true });
  await syncPath(disk, join(path, ".."));
}

/** Whole or not at all when this process ends; what `synced` gives makes it outlast the power. */
export async function writeQuickly(
  disk: Disk,
  path: string,
  text: string,
): Promise<{ synced: () => Promise<void> }> {
  await writeWhole(disk, path, text, { synced: false });
  const synced = async () => {
    for (const at of [path, join(path, "..")]) await syncPath(disk, at);
  };
  return { synced };
}

async function writeWhole(
  disk: Disk,
  path: string,
  text: string,
  { synced }: { synced: boolean },
): Promise<void> {
  const digest = createHash("sha256").update(text).digest("hex").slice(0, 8);
  const temporary = `${path}.${digest}.tmp`;
  const file = await disk.open(temporary, "w", 0o644);
  try {
    await file.writeFile(text);
    if (synced) await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(temporary, path);
}

/**
 * Writes what may be lost, whole or not at all. False, and a word in the log, when the disk takes
 * nothing: who asks tries again later.
 */
export async function writeHint(path: string, text: string, log: Log): Promise<boolean> {
  const temporary = `${path}.tmp`;
  try {
    await fs.writeFile(temporary, text);
    await fs.rename(temporary, path);
    return true;
  } catch (cause) {
    log.warn({ cause, path }, "not written down for now");
    return false;
  }
}

/** Removes a folder whose subfolders may be read-only. */
export async function removeFolder(disk: Disk, folder: string): Promise<void> {
  const entries = await disk.readdir(folder, { withFileTypes: true }).catch(ignoreMissing);
  if (entries === null) return;
  await disk.chmod(folder, 0o755);
  for (const entry of entries)
    if (entry.isDirectory()) await removeFolder(disk, join(folder, entry.name));
  await disk.rm(folder, { recursive: true, force: true });
}

/** Whether `fn` says true for all items, at most `limit` of them under way. */
export async function everyLimit<T>(
  items: Iterable<T>,
  limit: number,
  fn: (item: T) => Promise<boolean>,
): Promise<boolean> {
  const rest = items[Symbol.iterator]();
  let all = true;
  const worker = async () => {
    for (let next = rest.next(); all && !next.done; next = rest.next())
      if (!(await fn(next.value))) all = false;
  };
  await Promise.all(Array.from({ length: limit }, worker));
  return all;
}

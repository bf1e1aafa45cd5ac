/** Keys on disk: readable by their owner only, whole or not at all. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { PrestageError } from "../../shared/errors.ts";

/** The text of a key file, null when there is none. Throws when others may read or write it. */
export function readPrivate(file: string): string | null {
  if (!existsSync(file)) return null;
  const mode = statSync(file).mode & 0o777;
  if ((mode & 0o077) !== 0)
    throw new PrestageError(
      "CONFIG_INVALID",
      `${file} is open to others (mode ${mode.toString(8)}): run chmod 600 ${file}`,
      { details: { file, mode: mode.toString(8) } },
    );
  return readFileSync(file, "utf8");
}

/** Writes beside the file, syncs, renames: after a power cut the old or the new text is there. */
export function writeDurable(file: string, text: string, mode: 0o600 | 0o644): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const part = `${file}.new`;
  rmSync(part, { force: true });
  const fd = openSync(part, "wx", mode);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(part, file);
  const folder = openSync(dirname(file), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/**
 * Folders that an earlier process left and that are of no version: out of sight at once, so that a
 * start need not wait until gigabytes are removed, and away when there is time.
 */
import { join } from "node:path";
import { type Disk, ignoreMissing, removeFolder } from "./disk.ts";

const PREFIX = "left-";

export class Trash {
  readonly #disk: Disk;
  readonly #dir: string;
  #names = new Set<string>();
  #count = 0;

  constructor(disk: Disk, dir: string) {
    this.#disk = disk;
    this.#dir = dir;
  }

  /** Makes the folder. What lies in it is taken over. */
  async open(): Promise<void> {
    await this.#disk.mkdir(this.#dir, { recursive: true });
    const before = await this.#disk.readdir(this.#dir);
    this.#names = new Set(before.filter((name) => name.startsWith(PREFIX)));
    for (const name of before) if (!this.#names.has(name)) await this.put(join(this.#dir, name));
  }

  /** Nothing happens when there is no such folder. */
  async put(folder: string): Promise<void> {
    let name = "";
    do name = `${PREFIX}${this.#count++}`;
    while (this.#names.has(name));
    // A sealed folder could not be moved.
    await this.#disk.chmod(folder, 0o755).catch(ignoreMissing);
    await this.#disk.rename(folder, join(this.#dir, name)).catch(ignoreMissing);
    this.#names.add(name);
  }

  async empty(): Promise<void> {
    for (const name of this.#names) await removeFolder(this.#disk, join(this.#dir, name));
    this.#names.clear();
  }
}

import { hash } from "node:crypto";
import { existsSync } from "node:fs";
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PrestageError } from "../../shared/errors.ts";
import { signManifest } from "../../shared/manifest.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { listDirectory, openDirectory } from "./store/directory.ts";
import { diskError, ignoreMissing, nodeDisk } from "./store/disk.ts";
import { type Fault, FaultyDisk } from "./store/faulty-disk.fixture.ts";
import { ingest } from "./store/ingest.ts";
import { type Content, key, storeAt, version, WISH } from "./store/store.fixture.ts";
import type { Store } from "./store/store.ts";
import type { Tree } from "./store/trees.ts";

const V1: Content = { "a/x": ["one", "two", "three"], b: ["four"], empty: [], "a/y": ["5", "6"] };
const V2: Content = { "a/x": ["one", "two", "three"], b: ["4"], empty: [], "a/y": ["5", "seven"] };
const FOLDER = { "a/x": "onetwothree", "c/d": "published" };

const versions = [version(V1, "one"), version(V2, "two")] as const;
const fetched = new Set<string>(versions.map((v) => v.signed.hash));

/** Memory where there is some: the test is about the order of calls, not about a disk's speed. */
const where = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
/** Fetching two versions that share files, publishing a third, dropping the first. */
class Life {
  readonly active = new Set<string>();
  readonly dropped = new Set<string>();
  readonly #store: Store;
  readonly #source: string;
  opened = false;

  constructor(store: Store, source: string) {
    this.#store = store;
    this.#source = source;
  }

  /** Each of them may be tried again when it failed. */
  steps(): (() => Promise<void>)[] {
    const obtained = versions.map(({ signed, manifest }) => async () => {
      const tree = this.#store.get(signed.hash) ?? (await this.#store.add(signed, manifest, WISH));
      await this.#store.adopt(tree);
      while (!tree.active) {
        for (const [i, chunk] of tree.chunks.entries()) {
          if (!tree.have.has(i)) await this.#store.writeChunk(chunk.hash, text(chunk.hash), WISH);
          if (i === 2) await this.#flush(tree);
        }
        await this.#store.activate(tree);
      }
      this.active.add(signed.hash);
      await this.#store.noteUsed(signed.hash);
    });
    return [
      async () => {
        if (!this.opened) await this.#store.open();
        this.opened = true;
      },
      ...obtained,
      () => this.#publish(),
      () => this.#drop(),
    ];
  }

  async #flush(tree: Tree): Promise<void> {
    try {
      await tree.flush();
    } catch (cause) {
      throw diskError(cause, tree.root);
    }
  }

  async #publish(): Promise<void> {
    const signal = new AbortController().signal;
    const about = { name: "three", version: "1", originUrl: null, keep: true };
    const what = { ...about, bytesMax: 1e9, signal, progress: () => {} };
    const { hash: id } = await ingest(openDirectory(await listDirectory(this.#source)), what, {
      store: this.#store,
      sign: (manifest) => signManifest(manifest, key),
      note: () => {},
      publisher: "h",
      createdMs: 1,
      pin: () => () => {},
    });
    this.active.add(id);
  }

  async #drop(): Promise<void> {
    const tree = this.#store.get(versions[0].signed.hash);
    this.dropped.add(versions[0].signed.hash);
    if (tree) await this.#store.remove(tree);
  }
}

function text(chunkHash: string): Uint8Array {
  const all = [V1, V2].flatMap((v) => Object.values(v).flat());
  return Buffer.from(all.find((t) => hash("sha256", t, "hex") === chunkHash) ?? "");
}

async function sha256On(tree: Tree, position: number): Promise<string | null> {
  const { path, offset, bytes } = tree.range(position);
  const file = await readFile(join(tree.root, path)).catch(ignoreMissing);
  return file && hash("sha256", file.subarray(offset, offset + bytes), "hex");
}

async function linksOf(tree: Tree, position: number): Promise<number> {
  return (await stat(join(tree.root, tree.range(position).path))).nlink;
}

/** What a store says it holds is there, byte for byte; that of a `killed` one is all there is. */
async function expectSound(dir: string, life: Life, killed: boolean): Promise<void> {
  const store = storeAt(dir, nodeDisk);
  await store.open();
  await store.close();
  for (const tree of store.all()) {
    for (let i = 0; i < tree.chunks.length; i++) {
      const right = (await sha256On(tree, i)) === tree.chunks[i]?.hash;
      if (tree.have.has(i)) expect(right).toBe(true);
      // What is published comes again whole, and a link that was not noted is made again.
      else if (killed && right && fetched.has(tree.hash))
        expect(await linksOf(tree, i)).toBeGreaterThan(1);
    }
    if (!tree.placed) continue;
    expect([tree.manifest.name, tree.active]).toEqual([tree.manifest.name, true]);
    for (const file of tree.manifest.files) {
      const { size, mode } = await stat(join(tree.root, file.path));
      expect([size, mode & 0o222]).toEqual([file.bytes, 0]);
    }
  }
  for (const id of life.active)
    if (!life.dropped.has(id)) expect([id, store.get(id)?.active]).toEqual([id, true]);
  const known = new Set([...store.all()].map((t) => t.hash));
  for (const folder of ["partial", "trees"])
    for (const name of await readdir(join(dir, folder))) expect(known.has(name)).toBe(true);
  const resumed = storeAt(dir, nodeDisk);
  const again = new Life(resumed, join(dir, "..", "source"));
  for (const step of again.steps()) await step();
  await resumed.close();
}

describe("store: at every call to the disk", () => {
  let top = "";
  beforeEach(async () => {
    top = await mkdtemp(join(where, "prestage-power-"));
    for (const [path, content] of Object.entries(FOLDER)) {
      await mkdir(join(top, "source", path, ".."), { recursive: true });
      await writeFile(join(top, "source", path), content);
    }
  });
  afterEach(async () => {
    await rm(top, { recursive: true, force: true });
  });

  /** Returns how many calls there were; below `fault.call` it never came to the fault. */
  async function live(fault: Fault): Promise<number> {
    const dir = join(top, `at-${fault.kind}-${fault.call}`);
    await mkdir(dir);
    await chmod(dir, 0o755);
    const faulty = new FaultyDisk(fault);
    const store = storeAt(join(dir, "store"), faulty.disk);
    await mkdir(join(dir, "store"));
    const life = new Life(store, join(top, "source"));
    for (const step of life.steps()) {
      if (faulty.off) break;
      for (let tries = 1; tries <= 2; tries++)
        try {
          await step();
          break;
        } catch (cause) {
          if (faulty.off) break;
          if (tries === 2) throw cause;
          if (life.opened) expect(cause).toBeInstanceOf(PrestageError);
        }
    }
    await store.close();
    if (fault.kind === "cut") await faulty.cut(seededRandom(`cut ${fault.call}`));
    await mkdir(join(dir, "source"), { recursive: true });
    for (const [path, content] of Object.entries(FOLDER)) {
      await mkdir(join(dir, "source", path, ".."), { recursive: true });
      await writeFile(join(dir, "source", path), content);
    }
    await expectSound(join(dir, "store"), life, fault.kind === "kill");
    await rm(dir, { recursive: true, force: true });
    return faulty.calls;
  }

  test("what cannot be read at a start is left as it is, for the next one (input/output error)", {
    timeout: 600_000,
  }, async () => {
    const made = join(top, "made");
    await mkdir(made);
    const store = storeAt(join(made, "store"), nodeDisk);
    await mkdir(join(made, "store"));
    const life = new Life(store, join(top, "source"));
    for (const step of life.steps().slice(0, -1)) await step();
    const [{ signed }] = versions;
    await store.remove(store.get(signed.hash) as Tree);
    const part = await store.add(signed, versions[0].manifest, WISH);
    for (const { hash: id } of part.chunks.slice(1)) await store.writeChunk(id, text(id), WISH);
    life.active.delete(signed.hash);
    let call = 1;
    for (let reached = true; reached; call++) {
      const dir = join(top, `start-${call}`);
      await cp(made, dir, { recursive: true, preserveTimestamps: true });
      await cp(join(top, "source"), join(dir, "source"), { recursive: true });
      const faulty = new FaultyDisk({ kind: "EIO", call });
      const reopened = storeAt(join(dir, "store"), faulty.disk);
      const told = { code: "DISK_FULL", details: { errno: "EIO" } };
      await reopened.open().catch((cause: unknown) => expect(cause).toMatchObject(told));
      await reopened.close();
      reached = faulty.calls >= call;
      await expectSound(join(dir, "store"), life, false);
    }
    expect(call).toBeGreaterThan(25);
    await store.close();
  });

  test.each([
    ["what was acknowledged is there and nothing is wrong (power cut)", "cut"],
    ["all that was written is known (killed)", "kill"],
    ["the step fails with DISK_FULL and succeeds when it is tried again (no space)", "ENOSPC"],
    ["the step fails and succeeds when it is tried again (input/output error)", "EIO"],
  ] as const)("%s", { timeout: 600_000 }, async (_, kind) => {
    let call = 1;
    while ((await live({ kind, call })) >= call) call++;
    expect(call).toBeGreaterThan(150);
  });
});

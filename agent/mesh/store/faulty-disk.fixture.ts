/**
 * A disk that fails once, or loses power or its only process, at its n-th call. At a power cut what
 * was not synced is kept, zeroed or garbled by chance, and names that were not synced may be undone,
 * newest first.
 */
import { appendFile, open, rename, rm, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import type { Random } from "../../../shared/runtime/random.ts";
import { type Disk, nodeDisk } from "./disk.ts";

export type Fault = { call: number; kind: "cut" | "kill" | "ENOSPC" | "EIO" };
type Name =
  | { kind: "made"; path: string; folders: string[] }
  | { kind: "renamed"; path: string; from: string; folders: string[] };
type Range = { path: string; offset: number; bytes: number };
type Method = (...given: unknown[]) => Promise<unknown>;

export class FaultyDisk {
  readonly disk: Disk;
  calls = 0;
  off = false;
  readonly #fault: Fault | null;
  #names: Name[] = [];
  #ranges: Range[] = [];

  constructor(fault: Fault | null) {
    this.#fault = fault;
    const methods = Object.keys(nodeDisk).filter((name) => /^[a-z]/i.test(name));
    const wrapped: Record<string, Method> = {};
    for (const name of methods) {
      const method = Reflect.get(nodeDisk, name);
      if (typeof method === "function")
        wrapped[name] = (...given) => this.#call(name, method, given);
    }
    this.disk = Object.assign({ ...nodeDisk }, wrapped);
  }

  /** What the power cut leaves. Call once nothing uses the disk any more. */
  async cut(random: Random): Promise<void> {
    for (const { path, offset, bytes } of this.#ranges) await spoil(path, offset, bytes, random);
    const undone = new Set<Name>();
    for (const folder of new Set(this.#names.flatMap((n) => n.folders))) {
      const here = this.#names.filter((n) => n.folders.includes(folder));
      for (const name of here.slice(Math.floor(random.next() * (here.length + 1))))
        undone.add(name);
    }
    for (const name of this.#names.toReversed()) {
      if (!undone.has(name)) continue;
      if (name.kind === "made") await rm(name.path, { recursive: true, force: true });
      else {
        await rename(name.path, name.from).catch(() => null); // its folder was undone before it
        this.#moved(name.path, name.from);
      }
    }
  }

  async #call(name: string, method: Method, given: unknown[]): Promise<unknown> {
    this.#count();
    const [first, second] = given.map(String);
    if (!first) throw new Error("every call has a path");
    const existed = await nodeDisk.lstat(name === "open" || name === "mkdir" ? first : "/").then(
      () => true,
      () => false,
    );
    const result = await method(...given);
    if (name === "open") {
      if (!existed) this.#made(first);
      return this.#handle(result, first);
    }
    if (name === "mkdir" && !existed) this.#made(first);
    if ((name === "link" || name === "copyFile") && second) this.#made(second);
    if (name === "writeFile") this.#ranges.push({ path: first, offset: 0, bytes: 1 << 20 });
    if (name === "rename" && second) {
      this.#moved(first, second);
      const folders = [dirname(first), dirname(second)];
      this.#names.push({ kind: "renamed", path: second, from: first, folders });
    }
    if (name === "rm") {
      this.#ranges = this.#ranges.filter((r) => !within(r.path, first));
      this.#names = this.#names.filter((n) => !within(n.path, first));
    }
    return result;
  }

  #count(): void {
    this.calls++;
    if (this.off) throw new Error("the power is off");
    if (this.calls !== this.#fault?.call) return;
    const { kind } = this.#fault;
    this.off = kind === "cut" || kind === "kill";
    throw this.off ? new Error("the power is off") : Object.assign(new Error(kind), { code: kind });
  }

  #handle(handle: unknown, path: string): unknown {
    return new Proxy(handle as object, {
      get: (target, key) => {
        const method = Reflect.get(target, key);
        if (typeof method !== "function") return method;
        return async (...given: unknown[]) => {
          if (key === "close") return method.apply(target, given);
          this.#count();
          const result = await method.apply(target, given);
          if (key === "write") {
            const [, , bytes, offset] = given.map(Number);
            this.#ranges.push({ path, offset: offset ?? 0, bytes: bytes ?? 0 });
          } else if (key === "writeFile") this.#ranges.push({ path, offset: 0, bytes: 1 << 20 });
          else if (key === "sync" || key === "datasync") this.#synced(path);
          return result;
        };
      },
    });
  }

  #made(path: string): void {
    this.#names.push({ kind: "made", path, folders: [dirname(path)] });
  }

  #synced(path: string): void {
    this.#ranges = this.#ranges.filter((r) => r.path !== path);
    const durable = new Set(this.#names.filter((n) => n.folders.includes(path)).map((n) => n.path));
    this.#names = this.#names.filter((n) => !durable.has(n.path));
  }

  #moved(from: string, to: string): void {
    const map = (path: string) => (within(path, from) ? to + path.slice(from.length) : path);
    for (const range of this.#ranges) range.path = map(range.path);
    for (const name of this.#names) {
      name.path = map(name.path);
      name.folders = name.folders.map(map);
    }
  }
}

function within(path: string, folder: string): boolean {
  return `${path}/`.startsWith(`${folder}/`);
}

async function spoil(path: string, offset: number, bytes: number, random: Random): Promise<void> {
  const luck = random.next();
  if (luck < 0.3) return;
  const file = await open(path, "r+").catch(() => null); // removed meanwhile
  if (!file) return;
  const { size } = await file.stat();
  const there = Math.max(0, Math.min(bytes, size - offset));
  if (luck < 0.6) await file.write(Buffer.alloc(there), 0, there, offset);
  else if (luck < 0.8) await file.write(Buffer.alloc(there, 0xa5), 0, there, offset);
  await file.close();
  if (luck >= 0.8 && offset + there === size) {
    await truncate(path, offset + Math.floor(random.next() * there));
    if (random.next() < 0.5) await appendFile(path, Buffer.alloc(3));
  }
}

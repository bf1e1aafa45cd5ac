import { expect, test } from "vitest";
import { Passing } from "./passing.ts";

const never = new Promise<never>(() => {});
const text = (pieces: Uint8Array[]) => Buffer.concat(pieces).toString();

async function* source(pieces: string[]): AsyncGenerator<Uint8Array> {
  // One memory for all, as real sources may.
  const memory = Buffer.alloc(64);
  for (const piece of pieces) yield memory.subarray(0, memory.write(piece));
}

async function drain(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const drained: Uint8Array[] = [];
  for await (const piece of pieces) drained.push(Uint8Array.from(piece));
  return drained;
}

test("passing: who listens before it begins has every byte, and the bringing has them, too", async () => {
  const passing = new Passing();
  const heard = [1, 2].map(() => drain(passing.listen("blob", never)));
  const other = drain(passing.listen("other", Promise.resolve()));
  await Promise.resolve();
  expect(text(await drain(passing.through("blob", source(["ab", "", "cde"]))))).toBe("abcde");
  expect((await Promise.all(heard)).map(text)).toEqual(["abcde", "abcde"]);
  expect(await other).toEqual([]);
});

test("passing: who comes when it has begun has nothing", async () => {
  const passing = new Passing();
  const through = passing.through("blob", source(["ab", "cde"]));
  await through.next();
  expect(await drain(passing.listen("blob", never))).toEqual([]);
  await drain(through);
});

test("passing: who is too slow has a beginning without a gap, and holds nobody up", async () => {
  const passing = new Passing();
  const slow = passing.listen("blob", never);
  const first = slow.next();
  const memory = new Uint8Array(1 << 20);
  async function* large() {
    for (let i = 0; i < 40; i++) yield memory.fill(i);
  }
  for await (const _ of passing.through("blob", large()));
  const rest = await drain(slow);
  const heard = [(await first).value, ...rest].map((p) => p?.[0]);
  expect(heard).toEqual(heard.map((_, i) => i));
  expect(heard.length).toBeGreaterThan(10);
  expect(heard.length).toBeLessThan(40);
});

test("passing: it ends when the bringing fails, or when the blob is to be had otherwise", async () => {
  const passing = new Passing();
  async function* broken() {
    yield Buffer.from("ab");
    throw new Error("broken");
  }
  const heard = drain(passing.listen("blob", never));
  await Promise.resolve();
  await expect(drain(passing.through("blob", broken()))).rejects.toThrow("broken");
  expect(text(await heard)).toBe("ab");
  expect(await drain(passing.listen("blob", Promise.reject(new Error("not brought"))))).toEqual([]);
});

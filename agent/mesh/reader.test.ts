import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../shared/runtime/clock.ts";
import { TestFleet, type TestHost, writeTree } from "./mesh.fixture.ts";
import { Reader } from "./reader.ts";

let fleet: TestFleet;
beforeEach(() => {
  fleet = new TestFleet();
});
afterEach(() => fleet.close());

const signal = AbortSignal.timeout(300_000);
const large = randomBytes(6_000_000);
const files = { "a/large": large, small: Buffer.from("some bytes"), empty: Buffer.alloc(0) };

const readerOf = ({ mesh }: TestHost) => new Reader({ clock: systemClock, mesh });

async function read(at: TestHost, hash: string, path: string, from: number, to: number) {
  const pieces: Uint8Array[] = [];
  for await (const piece of readerOf(at).read(hash, path, { from, to }, { signal }))
    pieces.push(piece);
  return Buffer.concat(pieces);
}

async function pair() {
  const [a, b] = [await fleet.start("a"), await fleet.start("b")];
  fleet.enrol([a, b]);
  const dir = await fleet.folder();
  await writeTree(dir, files);
  return { a, b, hash: (await fleet.publish(a, dir)).hash };
}

test("mesh reader gives any part of a file, whether the version is here or comes meanwhile", async () => {
  const { a, b, hash } = await pair();
  for (const at of [a, b, b]) {
    const whole = await read(at, hash, "a/large", 0, large.length - 1);
    expect(whole.equals(large)).toBe(true);
    const part = await read(at, hash, "a/large", 1_234_567, 3_456_789);
    expect(part.equals(large.subarray(1_234_567, 3_456_790))).toBe(true);
    expect(await read(at, hash, "a/large", large.length - 1, large.length - 1)).toEqual(
      large.subarray(-1),
    );
    expect(await read(at, hash, "small", 5, 9)).toEqual(Buffer.from("bytes"));
    expect(await read(at, hash, "empty", 0, -1)).toHaveLength(0);
  }
  await expect(read(b, hash, "none", 0, 0)).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("mesh reader gives a small file at once, and leaves the large rest", async () => {
  const { b, hash } = await pair();
  expect(await read(b, hash, "small", 0, 9)).toEqual(files.small);
  const { peerBytes } = b.mesh.counters();
  expect(peerBytes).toBeLessThan(large.length);
});

test("mesh reader: who goes away in the middle stops the fetching; the reason is his own", async () => {
  const { b, hash } = await pair();
  const gone = new AbortController();
  const reading = readerOf(b).read(
    hash,
    "a/large",
    { from: 0, to: large.length - 1 },
    { signal: gone.signal },
  );
  const first = await reading.next();
  expect(first.done).toBe(false);
  gone.abort(new Error("gone"));
  const rest = async () => {
    for await (const piece of reading) void piece;
  };
  await rest().catch((cause: unknown) => expect(cause).toMatchObject({ message: "gone" }));
  expect((await read(b, hash, "a/large", 0, large.length - 1)).equals(large)).toBe(true);
});

test("mesh reader: what is here is known with its files", async () => {
  const { a, b, hash } = await pair();
  expect(readerOf(a).held()).toMatchObject([{ manifestHash: hash, active: true }]);
  expect(readerOf(b).held()).toEqual([]);
  const described = await readerOf(b).describe(hash, { signal });
  expect(described.files.map((f) => f.path)).toEqual(["a/large", "empty", "small"]);
});

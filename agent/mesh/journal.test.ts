import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { nodeDisk } from "./disk.ts";
import { FileHandles } from "./handles.ts";
import { Journal } from "./journal.ts";

const HASH = "ab".repeat(32);
let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prestage-journal-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

function journalAt(path: string, hash = HASH): Journal {
  const handles = new FileHandles(nodeDisk, { capacity: 0 });
  return new Journal({ disk: nodeDisk, handles }, path, hash);
}
const sorted = (set: Set<number>) => [...set].sort((a, b) => a - b);

test("journal: tells what is durable from what was only written", async () => {
  const path = join(dir, "j");
  const journal = journalAt(path);
  await journal.written([1, 2, 3]);
  const { count } = journal;
  await journal.written([4]);
  await journal.lost([2]);
  await journal.durable(count);
  await journal.lost([3]);
  const { durable, written } = await journalAt(path).load();
  expect(sorted(durable)).toEqual([1]);
  expect(sorted(written)).toEqual([4]);
});

test("journal: a tail that was torn, zeroed or garbled costs only what stands in it", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 30 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.constantFrom("cut", "zero", "garble"),
      async (positions, where, how) => {
        const path = join(dir, "j");
        await rm(path, { force: true });
        const journal = journalAt(path);
        for (const position of positions) await journal.written([position]);
        const bytes = await readFile(path);
        const at = Math.floor(where * bytes.length);
        if (how === "cut") await truncate(path, at);
        else await writeFile(path, bytes.fill(how === "zero" ? 0 : 0xa5, at));
        const again = journalAt(path);
        const before = await again.load();
        const whole = new Set(positions.slice(0, Math.floor(at / 8)));
        expect(sorted(before.written)).toEqual(sorted(whole));
        await again.written([77]);
        expect(sorted((await journalAt(path).load()).written)).toEqual([...sorted(whole), 77]);
      },
    ),
    { numRuns: 60 },
  );
});

test("journal: says nothing about another version", async () => {
  await journalAt(join(dir, "j")).written([1]);
  const { written } = await journalAt(join(dir, "j"), "cd".repeat(32)).load();
  expect(written.size).toBe(0);
});

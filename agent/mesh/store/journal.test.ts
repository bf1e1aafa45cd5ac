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

test("journal: tells what is durable, what was only written and what was only begun", async () => {
  const path = join(dir, "j");
  const journal = journalAt(path);
  await journal.begun([1, 2, 3, 4, 5, 6]);
  journal.written([1, 2, 3, 6]);
  await journal.commit();
  const { count } = journal;
  journal.written([4]);
  await journal.lost([2]);
  await journal.durable(count);
  await journal.lost([3]);
  await journal.begun([6, 7]);
  const { durable, written, begun } = await journalAt(path).load();
  expect(sorted(durable)).toEqual([1]);
  expect(sorted(written)).toEqual([4]);
  expect(sorted(begun)).toEqual([5, 6, 7]);
});

test("journal: what was written and not appended yet is told as begun (killed in between)", async () => {
  const path = join(dir, "j");
  const journal = journalAt(path);
  await journal.begun([1, 2]);
  journal.written([1]);
  const { count } = journal;
  const killed = await journalAt(path).load();
  expect([sorted(killed.written), sorted(killed.begun)]).toEqual([[], [1, 2]]);
  await journal.durable(count);
  const { durable, written, begun } = await journalAt(path).load();
  expect([sorted(durable), sorted(written), sorted(begun)]).toEqual([[], [1], [2]]);
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
        for (const position of positions) {
          journal.written([position]);
          await journal.commit();
        }
        const bytes = await readFile(path);
        const at = Math.floor(where * bytes.length);
        const filled = Buffer.from(bytes).fill(how === "zero" ? 0 : 0xa5, at);
        if (how === "cut") await truncate(path, at);
        else await writeFile(path, filled);
        // What a fill finds as it would leave it is not torn.
        let same = at;
        while (how !== "cut" && same < bytes.length && filled[same] === bytes[same]) same++;
        const again = journalAt(path);
        const before = await again.load();
        const whole = new Set(positions.slice(0, Math.floor(same / 8)));
        expect(sorted(before.written)).toEqual(sorted(whole));
        again.written([77]);
        await again.commit();
        expect(sorted((await journalAt(path).load()).written)).toEqual([...sorted(whole), 77]);
      },
    ),
    { numRuns: 60 },
  );
});

test("journal: says nothing about another version", async () => {
  await journalAt(join(dir, "j")).begun([1]);
  const { begun } = await journalAt(join(dir, "j"), "cd".repeat(32)).load();
  expect(begun.size).toBe(0);
});

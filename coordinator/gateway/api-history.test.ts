import fc from "fast-check";
import { expect, test } from "vitest";
import type { HistoryRow } from "../../shared/api.ts";
import { historyRows } from "./api-history.ts";

async function* parts(bytes: Uint8Array, cuts: number[]): AsyncGenerator<Uint8Array> {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length];
  at.sort((a, b) => a - b);
  for (let i = 1; i < at.length; i++) yield bytes.subarray(at[i - 1], at[i]);
}
async function read(text: string | Uint8Array, cuts: number[] = [], bytesMax = 1 << 20) {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  return await Array.fromAsync(historyRows(parts(bytes, cuts), bytesMax));
}
const row = (category: string): HistoryRow => ({
  timestampMs: 1,
  workload: "w",
  category,
  origin: "Köln",
  count: 1,
});
const lines = (rows: HistoryRow[]) => rows.map((r) => `${JSON.stringify(r)}\n`).join("");

test("history: where the network cuts the bytes does not matter (property)", async () => {
  const categories = fc.array(fc.stringMatching(/^[a-zé漢🙂]{1,8}$/u), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(categories, fc.array(fc.nat(), { maxLength: 20 }), async (names, cuts) => {
      const rows = names.map(row);
      expect(await read(lines(rows), cuts)).toEqual(rows);
    }),
  );
});

test("history: takes a last line without its end, and empty lines", async () => {
  expect(await read(`\n${lines([row("a")])}\n${lines([row("b")]).trim()}`)).toHaveLength(2);
});

test.each([
  ["a row of another shape", `${lines([row("a")])}{"workload":"w"}\n`, "USAGE"],
  ["an unknown field", `${lines([row("a")])}${JSON.stringify({ ...row("a"), x: 1 })}\n`, "USAGE"],
  ["no JSON", `${lines([row("a")])}timestamp,workload\n`, "USAGE"],
  ["a line without end", `${lines([row("a")])}${"x".repeat(5_000)}`, "TOO_LARGE"],
])("history: names the line of %s", async (_, text, code) => {
  await expect(read(text)).rejects.toMatchObject({ code, details: { line: 2 } });
});

test("history: refuses bytes that are no UTF-8, also a character cut off at the end", async () => {
  const bytes = new TextEncoder().encode(lines([row("a")]));
  const broken = Uint8Array.from([...bytes, 0xff, 0x0a]);
  await expect(read(broken)).rejects.toMatchObject({ code: "USAGE" });
  const cut = Uint8Array.from([...bytes, 0xe6]);
  await expect(read(cut)).rejects.toMatchObject({ code: "USAGE" });
});

test("history: stops reading over its limit", async () => {
  await expect(read(lines([row("a"), row("b")]), [], 50)).rejects.toMatchObject({
    code: "TOO_LARGE",
  });
});

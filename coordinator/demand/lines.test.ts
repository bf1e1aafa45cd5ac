import fc from "fast-check";
import { expect, test } from "vitest";
import { LINE_CHARS_MAX, LineSplitter } from "./lines.ts";

function split(bytes: Uint8Array, cuts: readonly number[] = []): string[] {
  const splitter = new LineSplitter();
  const lines: string[] = [];
  let from = 0;
  for (const cut of [...cuts, bytes.length].sort((a, b) => a - b)) {
    lines.push(...splitter.push(bytes.subarray(from, cut)));
    from = cut;
  }
  return [...lines, ...splitter.end()];
}

test.each([
  ["nothing", "", []],
  ["no end", "a\nb", ["a", "b"]],
  ["an end", "a\nb\n", ["a", "b"]],
  ["Windows", "a\r\n\r\nb\r\n", ["a", "", "b"]],
  ["one character", "a", ["a"]],
  ["a byte order mark", "\uFEFFa\nb", ["a", "b"]],
])("lines: %s", (_, text, lines) => {
  expect(split(Buffer.from(text))).toEqual(lines);
});

test("lines: UTF-16 with a byte order mark is read, in both orders", () => {
  const little = Buffer.from("\uFEFFgrün\nzwei", "utf16le");
  expect(split(little)).toEqual(["grün", "zwei"]);
  expect(split(Buffer.from(little).swap16())).toEqual(["grün", "zwei"]);
});

test("lines: what is no text costs its own line only", () => {
  const bytes = Buffer.concat([
    Buffer.from("a\n"),
    Buffer.from([0xff, 0xfe, 0]),
    Buffer.from("\nb"),
  ]);
  expect(split(bytes)).toEqual(["a", "\uFFFD\uFFFD\0", "b"]);
});

test("lines: a line without end stays bounded, the next is whole", () => {
  const splitter = new LineSplitter();
  const long = Buffer.alloc(1 << 20, "x");
  for (let i = 0; i < 8; i++) expect(splitter.push(long)).toEqual([]);
  const [line = "", next] = splitter.push(Buffer.from("y\nshort\n"));
  expect([line.length, next]).toEqual([LINE_CHARS_MAX + 1, "short"]);
});

test("lines: cuts do not matter (any text, any cuts)", () => {
  const line = fc
    .string({ unit: "grapheme", maxLength: 12 })
    .map((s) => s.replaceAll(/[\r\n]/g, ""));
  fc.assert(
    fc.property(
      fc.array(line),
      fc.constantFrom("\n", "\r\n"),
      fc.array(fc.nat(200)),
      (all, end, cuts) => {
        const bytes = Buffer.from(all.map((one) => one + end).join(""));
        expect(
          split(
            bytes,
            cuts.map((cut) => Math.min(cut, bytes.length)),
          ),
        ).toEqual(split(bytes));
      },
    ),
  );
});

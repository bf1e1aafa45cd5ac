import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { prescan } from "./prescan.ts";

const limits = { elementsMax: 1_000 };
const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
const plain = new Packr({ useRecords: false });

describe("prescan", () => {
  test.each([
    ["null", null],
    ["numbers of every width", [0, 127, 128, 65_535, 65_536, 2 ** 40, -1, -33, -129, -40_000, 1.5]],
    ["texts of every width", ["", "a", "x".repeat(31), "x".repeat(300), "x".repeat(70_000)]],
    ["nested containers", { a: [{ b: [] }, {}, [[1]]], c: { d: true } }],
    ["a list of 16-bit length", Array.from({ length: 500 }, () => 1)],
  ])("lets plain values pass (%s)", (_what, value) => {
    expect(prescan(plain.pack(value), limits)).toBeNull();
  });

  test.each([
    ["nothing", "", "truncated"],
    ["text longer than the frame", "db ff ff ff ff 61", "truncated"],
    ["a length cut off", "da 01", "truncated"],
    ["a number cut off", "cf 00 00", "truncated"],
    ["list of four billion", "dd ff ff ff ff", "claims more elements than bytes"],
    ["map of four billion", "df ff ff ff ff 00 00", "claims more elements than bytes"],
    ["map of half a list's bytes", "82 a1 61 01", "claims more elements than bytes"],
    ["list within list of claims", "dc 00 02 dc ff ff 01", "claims more elements than bytes"],
    ["a second value", "01 02", "trailing bytes"],
    ["fixext 1 (undefined of msgpackr)", "d4 00 00", "binary, extension or reserved type"],
    ["timestamp", "d6 ff 00 00 00 00", "binary, extension or reserved type"],
    ["ext 8", "c7 01 05 00", "binary, extension or reserved type"],
    ["ext 32", "c9 00 00 00 01 05 00", "binary, extension or reserved type"],
    ["record definition of msgpackr", "d4 72 40 91 a1 61 01", "binary, extension or reserved type"],
    ["binary", "c4 01 00", "binary, extension or reserved type"],
    ["never used", "c1", "binary, extension or reserved type"],
    ["number as key", "81 01 02", "key is no short text"],
    ["list as key", "81 90 01", "key is no short text"],
    ["key of 300 bytes", `81 d9 ff ${"61".repeat(255)} 01`, null],
    ["key of 16-bit length", "81 da 00 01 61 01", "key is no short text"],
    ["prototype", `81 a9 ${Buffer.from("__proto__").toString("hex")} 80`, "key __proto__"],
    ["long text that is no UTF-8", `da 01 01 ${"ff".repeat(257)}`, "text is no UTF-8"],
    ["nested 17 deep", `${"91".repeat(17)}01`, "nested too deep"],
    ["nested 16 deep", `${"91".repeat(16)}01`, null],
  ])("holds claims against the bytes that are there (%s)", (_what, bytes, refused) => {
    expect(prescan(hex(bytes), limits)).toBe(refused);
  });

  test("counts elements over all containers (many small lists)", () => {
    const lists = (count: number) => plain.pack(Array.from({ length: count }, () => [1, 2, 3]));
    expect(prescan(lists(249), limits)).toBeNull();
    expect(prescan(lists(250), limits)).toBe("too many elements");
  });

  test("a text inside may look like anything", () => {
    const bytes = plain.pack({ a: "\u00c1\u00d4\u00dd\u00dd\u00dd" });
    expect(prescan(bytes, limits)).toBeNull();
  });
});

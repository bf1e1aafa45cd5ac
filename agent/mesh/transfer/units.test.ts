import fc from "fast-check";
import { expect, test } from "vitest";
import { Bitmap } from "./bitmap.ts";
import { UNIT_BYTES_MAX, UNIT_BYTES_MIN, Units } from "./units.ts";

const KiB = 1024;
const sizes = fc.array(fc.integer({ min: 0, max: 1024 * KiB }), { maxLength: 400 });
const chunksOf = (bytes: number[]) => bytes.map((b, i) => ({ hash: `h${i % 50}`, bytes: b }));

test("units: every chunk is in one unit, in order, none over the limit (any sizes)", () => {
  fc.assert(
    fc.property(sizes, (bytes) => {
      const units = Units.of(chunksOf(bytes));
      let position = 0;
      for (let unit = 0; unit < units.count; unit++) {
        expect(units.first(unit)).toBe(position);
        let sum = 0;
        for (; position < units.end(unit); position++) {
          expect(units.unitOf(position)).toBe(unit);
          sum += bytes[position] ?? 0;
        }
        expect(units.bytes(unit)).toBe(sum);
        expect(sum).toBeLessThanOrEqual(UNIT_BYTES_MAX);
      }
      expect(position).toBe(bytes.length);
    }),
  );
});

test("units: between 1 and 4 MiB where chunks are small (100 MB, 3 GB, 20 GB)", () => {
  for (const total of [100e6, 3e9, 20e9]) {
    const n = Math.ceil(total / (350 * KiB));
    const units = Units.of(chunksOf(Array.from({ length: n }, () => 350 * KiB)));
    const mean = total / units.count;
    expect(mean).toBeGreaterThan(UNIT_BYTES_MIN * 0.6);
    expect(mean).toBeLessThanOrEqual(UNIT_BYTES_MAX);
  }
});

test("units: a small version has parts enough for hosts to swap (2, 8, 40 MB)", () => {
  for (const [total, least] of [
    [2e6, 5],
    [8e6, 20],
    [40e6, 30],
  ] as const) {
    const n = Math.ceil(total / (350 * KiB));
    const units = Units.of(chunksOf(Array.from({ length: n }, () => 350 * KiB)));
    expect(units.count).toBeGreaterThanOrEqual(least);
    expect(units.count).toBeLessThan(64);
  }
});

test("units: whole are those of which every chunk is held", () => {
  fc.assert(
    fc.property(sizes, fc.infiniteStream(fc.boolean()), (bytes, coins) => {
      const units = Units.of(chunksOf(bytes));
      const have = new Bitmap(bytes.length);
      for (let i = 0; i < bytes.length; i++) if (coins.next().value) have.set(i);
      const whole = units.whole(have);
      for (let unit = 0; unit < units.count; unit++) {
        const all = Array.from({ length: units.end(unit) - units.first(unit) }, (_, i) =>
          have.has(units.first(unit) + i),
        );
        expect(whole.has(unit)).toBe(all.every(Boolean));
      }
    }),
  );
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { Bitmap } from "../transfer/bitmap.ts";
import { dataHead, encodeFrame, type Frame, FrameError, FrameReader } from "./frames.ts";
import {
  decodeAnnouncement,
  decodeHoldings,
  encodeAnnouncement,
  encodeEntry,
  encodeHoldings,
} from "./gossip.ts";

const id = fc.integer({ min: 0, max: 0xffffffff });
const sha = fc.stringMatching(/^[0-9a-f]{64}$/);
const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    type: fc.constant("request" as const),
    id,
    kind: fc.constantFrom(
      "chunk" as const,
      "manifest" as const,
      "holdings" as const,
      "patches" as const,
    ),
    base: fc.option(
      fc.uint8Array({ minLength: 32, maxLength: 32 }).map((b) => Buffer.from(b).toString("hex")),
    ),
    foreground: fc.boolean(),
    hash: sha,
  }),
  fc.record({
    type: fc.constant("refuse" as const),
    id,
    reason: fc.constantFrom("missing" as const, "busy" as const, "corrupt" as const),
  }),
  fc.record({ type: fc.constant("cancel" as const), id }),
  fc.record({ type: fc.constant("credit" as const), requests: id }),
  fc.record({ type: fc.constant("pace" as const), bytesPerSecond: id }),
  fc.record({
    type: fc.constant("have" as const),
    manifest: sha,
    units: fc.array(id, { maxLength: 30 }),
  }),
);

function reader() {
  const frames: Frame[] = [];
  const data: number[] = [];
  return {
    frames,
    data,
    reader: new FrameReader({
      control: (f) => void frames.push(f),
      data: (_id, _total, _offset, piece) => void data.push(...piece),
    }),
  };
}

test("frames: what is written is read (cut into any pieces, data between)", () => {
  const pieces = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 });
  fc.assert(
    fc.property(
      fc.array(frame),
      fc.uint8Array({ minLength: 1, maxLength: 99 }),
      pieces,
      (list, bytes, sizes) => {
        const parts = list.flatMap((f) => [
          encodeFrame(f),
          dataHead(1, bytes.length, 0, bytes.length),
          bytes,
        ]);
        const wire = Buffer.concat(parts);
        const { frames, data, reader: r } = reader();
        for (let at = 0, i = 0; at < wire.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          r.read(wire.subarray(at, at + size));
          at += size;
        }
        expect(frames).toEqual(list);
        expect(data).toEqual(list.flatMap(() => [...bytes]));
      },
    ),
  );
});

test("frames: hostile bytes end in a FrameError or are waited on, nothing else (any bytes)", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        reader().reader.read(bytes);
      } catch (cause) {
        expect(cause).toBeInstanceOf(FrameError);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("gossip: an announcement comes back the same; what is none gives null", () => {
  const said = fc.record({
    id: sha,
    bits: fc.array(fc.boolean(), { maxLength: 60 }),
    wanting: fc.boolean(),
    urgent: fc.boolean(),
    claims: fc.array(fc.integer({ min: 0, max: 99 }), { maxLength: 5 }),
  });
  fc.assert(
    fc.property(fc.array(said, { maxLength: 4 }), fc.uint8Array(), (list, junk) => {
      const manifests = list.map(({ bits, ...rest }) => {
        const have = new Bitmap(bits.length);
        bits.forEach((bit, i) => void (bit && have.set(i)));
        return { ...rest, have };
      });
      const head = { host: "h", site: "s", startedMs: 1, sequence: 2, whole: true };
      const back = decodeAnnouncement(encodeAnnouncement(head, manifests.map(encodeEntry)));
      expect(back?.manifests.map((m) => [...m.have.toBytes()])).toEqual(
        manifests.map((m) => [...m.have.toBytes()]),
      );
      expect(back?.manifests.map((m) => m.claims)).toEqual(manifests.map((m) => m.claims));
      expect(decodeAnnouncement(junk)).toBe(null);
      for (const m of manifests)
        expect([...(decodeHoldings(encodeHoldings(m.have))?.toBytes() ?? [])]).toEqual([
          ...m.have.toBytes(),
        ]);
      decodeHoldings(junk);
    }),
  );
});

import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { reportFacts, SAMPLES } from "../../test/support/messages.ts";
import { decode, encode, encodeBody, frame, HEADER_BYTES, readHeader } from "./codec.ts";
import { type Direction, MESSAGE_TYPES, MESSAGES, type MessageType, type Row } from "./messages.ts";

const plain = new Packr({ useRecords: false });
const wild = new Packr({ useRecords: true, structuredClone: true });
const DIRECTIONS: Direction[] = ["up", "down"];
const FRAME_MS_MAX = 50;

/** Milliseconds of this thread's own work: the machine may be busy with other things. */
function workMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

/** Fails when reading it throws anything but PROTOCOL, or is slow three times over (GC). */
function survives(bytes: Uint8Array, what = "frame"): void {
  for (const direction of DIRECTIONS) {
    let bestMs = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < 3 && bestMs > FRAME_MS_MAX; attempt++) {
      const startMs = workMs();
      try {
        decode(direction, bytes);
      } catch (error) {
        expect(error).toMatchObject({ name: "PrestageError", code: "PROTOCOL" });
      }
      bestMs = Math.min(bestMs, workMs() - startMs);
    }
    expect(bestMs, what).toBeLessThan(FRAME_MS_MAX);
  }
}

const anyType = fc.constantFrom<MessageType[]>(...MESSAGE_TYPES);
const body = (type: MessageType, value: unknown) => frame(type, 0, plain.pack(value));

describe("codec", () => {
  test.each(SAMPLES.map((s) => [s.type, s] as const))(
    "gives back what was sent (%s)",
    (type, s) => {
      expect(decode(MESSAGES[type].direction, encode(s, 77))).toEqual({ message: s, sequence: 77 });
    },
  );

  test("leaves out fields that are undefined, at any depth", () => {
    const sample = { type: "ack", body: { seq: 1, extra: undefined } } as const;
    expect(decode("down", encode(sample, 0)).message.body).toEqual({ seq: 1 });
  });

  test("fields a newer side added are passed over", () => {
    const bytes = body("ping", { at: 1, since2: { deep: [1, 2] } });
    expect(decode("down", bytes).message.body).toEqual({ at: 1 });
  });

  test.each([
    ["does not fit its schema", () => encodeBody({ type: "ack", body: { seq: -1 } })],
    ["does not fit its schema", () => encodeBody({ type: "ping", body: { at: Number.NaN } })],
    [
      "does not fit its schema",
      () =>
        encodeBody({
          type: "report",
          body: {
            ...reportFacts(1_001),
            desiredVersion: 0,
            routesVersion: 0,
            membersEpoch: 0,
          },
        }),
    ],
  ])("refuses to send what the peer would refuse (%s)", (message, act) => {
    expect(act).toThrow(message);
  });

  test.each([
    ["empty", new Uint8Array(), "tag"],
    ["unknown tag", Uint8Array.from([200, 0, 0, 0, 0, 1]), "tag"],
    ["wrong direction", encode({ type: "ping", body: { at: 1 } }, 0), "tag"],
    ["header only", Uint8Array.from([MESSAGES.pong.tag, 0, 0, 0, 0]), "size"],
    ["over its size", frame("pong", 0, new Uint8Array(300)), "size"],
    ["extension", frame("pong", 0, wild.pack({ at: new Date(5) })), "prescan"],
    ["record", frame("pong", 0, wild.pack({ at: 5 })), "prescan"],
    ["set", frame("pong", 0, wild.pack(new Set([1]))), "prescan"],
    ["schema", body("pong", { at: "now" }), "schema"],
    [
      "big integer",
      frame("records", 0, plain.pack({ seq: 2n ** 63n, demand: [], outcomes: [] })),
      "schema",
    ],
    ["infinite", body("pong", { at: Number.POSITIVE_INFINITY }), "schema"],
  ])("refuses at the first step that can tell (%s)", (_what, bytes, at) => {
    const error = (() => {
      try {
        decode("up", bytes);
      } catch (cause) {
        return cause;
      }
    })();
    expect(error).toMatchObject({ code: "PROTOCOL", details: { at } });
  });

  test("a message newer than the agreed version is refused", () => {
    const bytes = encode({ type: "pong", body: { at: 1 } }, 0);
    expect(readHeader("up", bytes, MESSAGES.pong.since - 1)).toMatchObject({
      ok: false,
      at: "tag",
    });
  });
});

describe("codec under hostile frames", () => {
  test("survives any bytes under any tag", () => {
    fc.assert(
      fc.property(anyType, fc.uint8Array({ maxLength: 512 }), (type, bytes) => {
        survives(frame(type, 0, bytes));
        survives(bytes);
      }),
      { numRuns: 3_000 },
    );
  });

  test("survives any value under any tag", () => {
    const value = fc.anything({ withDate: true, withSet: true, withMap: true });
    fc.assert(
      fc.property(anyType, value, fc.boolean(), (type, any, records) => {
        survives(frame(type, 0, (records ? wild : plain).pack(any)));
      }),
      { numRuns: 2_000 },
    );
  });

  test("survives true frames with bytes changed, cut or put in", () => {
    const edit = fc.record({
      at: fc.nat(),
      byte: fc.nat(255),
      kind: fc.constantFrom("set", "cut", "insert"),
    });
    fc.assert(
      fc.property(
        fc.constantFrom(...SAMPLES),
        fc.array(edit, { minLength: 1, maxLength: 8 }),
        (sample, edits) => {
          let bytes = [...encode(sample, 0)];
          for (const { at, byte, kind } of edits) {
            const index = at % (bytes.length + 1);
            if (kind === "set") bytes[index % Math.max(1, bytes.length)] = byte;
            else if (kind === "cut") bytes = bytes.slice(0, index);
            else bytes.splice(index, 0, byte);
          }
          survives(Uint8Array.from(bytes));
        },
      ),
      { numRuns: 3_000 },
    );
  });

  const filled = (bytes: number, pattern: number[]) =>
    Buffer.alloc(bytes, Uint8Array.from(pattern));
  const rows: [MessageType, Row][] = MESSAGE_TYPES.map((type) => [type, MESSAGES[type]]);

  test.each(rows)("reads a frame as large as %s may be in time (bombs)", (type, row) => {
    const size = row.bytesMax - HEADER_BYTES;
    const many = Math.min(row.elementsMax - 1, size - 5);
    const claiming = (token: number, count: number, rest: Uint8Array) =>
      Buffer.concat([Uint8Array.of(token, count >> 24, count >> 16, count >> 8, count), rest]);
    const hostile: [string, Uint8Array][] = [
      ["nested lists", filled(size, [0x91])],
      ["lists that claim", filled(size, [0xdd, 0xff, 0xff, 0xff, 0xff])],
      ["maps that claim", filled(size, [0xdf, 0x0f, 0xff, 0xff, 0xff])],
      ["empty maps, as many as fit", claiming(0xdd, many, filled(many, [0x80]))],
      ["numbers, as many as fit", claiming(0xdd, many, filled(many, [0x01]))],
      ["one long text", claiming(0xdb, size - 5, filled(size - 5, [0xff]))],
      ["extensions", filled(size, [0xc7, 0x01, 0x72, 0x40])],
    ];
    for (const [what, bytes] of hostile) survives(frame(type, 0, bytes), `${type}: ${what}`);
  });

  test("refuses long lists of rubbish in the right place in time", () => {
    const rubbish = (count: number) => Array.from({ length: count }, () => ({}));
    const report = reportFacts();
    survives(body("records", { seq: 1, demand: rubbish(1_000), outcomes: rubbish(1_000) }));
    survives(body("report", { ...report, holdings: rubbish(2_000), orders: rubbish(4_000) }));
    survives(body("routes", { version: 1, entries: rubbish(20_000) }));
    survives(body("desired", { version: 1, workloads: rubbish(10_000), hold: rubbish(4_000) }));
    survives(body("members", { epoch: 1, members: rubbish(10_000) }));
  });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { floats, message } from "./protobuf.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("protobuf", () => {
  test.each([
    ["150 as field 1 (the example of the encoding guide)", { number: 1, value: 150 }, "089601"],
    ["text as field 2", { number: 2, value: "testing" }, "120774657374696e67"],
    ["a minus one as ten bytes", { number: 1, value: -1 }, "08ffffffffffffffffff01"],
    ["a field number over 15", { number: 20, value: 2 }, "a00102"],
    ["an empty message", { number: 7, value: new Uint8Array() }, "3a00"],
  ])("writes %s", (_, field, bytes) => {
    expect(hex(message([field]))).toBe(bytes);
  });

  test("floats come back from little-endian bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true })), (values) => {
        const bytes = floats(values);
        const view = new DataView(bytes.buffer);
        values.forEach((value, i) => {
          expect(view.getFloat32(i * 4, true)).toBe(value);
        });
      }),
    );
  });
});

/**
 * The bytes of every released protocol version stay readable. Version 1 is not released yet:
 * until then `PRESTAGE_GOLDEN=write vitest run shared/protocol/golden` writes its files anew.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { SAMPLES } from "../../test/support/messages.ts";
import { decode, encode } from "./codec.ts";
import { MESSAGE_TYPES, MESSAGES } from "./messages.ts";

const folder = new URL("../../test/fixtures/frames/", import.meta.url);
const SEQUENCE = 0x01020304;

describe("golden frames of version 1", () => {
  test("there is one of each message", () => {
    expect(SAMPLES.map((sample) => sample.type).sort()).toEqual([...MESSAGE_TYPES].sort());
  });

  test.each(SAMPLES.map((sample) => [sample.type, sample] as const))("%s", (type, sample) => {
    const file = new URL(`v1-${type}.hex`, folder);
    const hex = Buffer.from(encode(sample, SEQUENCE)).toString("hex");
    if (process.env.PRESTAGE_GOLDEN === "write") writeFileSync(file, `${hex}\n`);
    const golden = readFileSync(file, "utf8").trim();
    const read = decode(MESSAGES[type].direction, Buffer.from(golden, "hex"));
    expect(read).toEqual({ message: sample, sequence: SEQUENCE });
    expect(hex).toBe(golden);
  });
});

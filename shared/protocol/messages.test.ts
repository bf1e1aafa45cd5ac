import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Outcome } from "../domain.ts";
import { RECORDS_ITEMS_MAX } from "./bodies.ts";
import { encodeBody } from "./codec.ts";
import { frameBytesMax, MESSAGE_TYPES, MESSAGES, type Row, typeOfTag } from "./messages.ts";
import { PROTOCOL } from "./versions.ts";

const rows: [string, Row][] = Object.entries(MESSAGES);

describe("messages", () => {
  test("no tag is used twice, and the tag shows the direction", () => {
    expect(new Set(rows.map(([, row]) => row.tag)).size).toBe(rows.length);
    for (const [, row] of rows) expect(row.tag < 64).toBe(row.direction === "up");
    for (const type of MESSAGE_TYPES) expect(typeOfTag(MESSAGES[type].tag)).toBe(type);
    expect(typeOfTag(255)).toBeUndefined();
  });

  test.each(rows)("%s has limits that let one through", (_type, row) => {
    expect(row.burst).toBeGreaterThanOrEqual(1);
    expect(row.ratePerSecond).toBeGreaterThan(0);
    expect(row.bytesMax).toBeGreaterThan(5);
    expect(row.since).toBeLessThanOrEqual(PROTOCOL.max);
    expect(row.doc).toMatch(/^[A-Z].*\.$/);
    expect(frameBytesMax(row.direction)).toBeGreaterThanOrEqual(row.bytesMax);
  });

  test("docs/protocol.md shows the table", () => {
    const page = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8");
    const lines = rows.map(([type, row]) => {
      const rate = `${row.ratePerSecond}/s, ${row.burst} at once`;
      const size = row.bytesMax < 1 << 20 ? `${row.bytesMax} B` : `${row.bytesMax >> 20} MiB`;
      const cells = [row.tag, `\`${type}\``, row.direction, size, row.elementsMax, rate, row.since];
      return `| ${cells.join(" | ")} | ${row.doc} |`;
    });
    expect(page.split("\n").filter((line) => /^\| \d/.test(line))).toEqual(lines);
  });

  test("the largest batch of records fits its frame (all texts at their limits)", () => {
    const name = "n".repeat(64);
    const category = "\u4e00".repeat(128);
    const outcome: Outcome = {
      kind: "wasted",
      workload: name,
      category,
      host: name,
      atMs: 1e15 + 0.5,
      firstByteMs: 1e15 + 0.5,
      waitedMs: 1e15 + 0.5,
      status: 999,
      orderId: "\u4e00".repeat(200),
      bytes: Number.MAX_SAFE_INTEGER,
      memoryByteMs: 1e15 + 0.5,
    };
    const bin = {
      workload: name,
      category,
      host: name,
      startMs: 1e15,
      count: Number.MAX_SAFE_INTEGER,
    };
    const items = <T>(item: T) => Array.from({ length: RECORDS_ITEMS_MAX }, () => item);
    const body = { seq: Number.MAX_SAFE_INTEGER, demand: items(bin), outcomes: items(outcome) };
    expect(encodeBody({ type: "records", body }).length).toBeLessThan(MESSAGES.records.bytesMax);
  });
});

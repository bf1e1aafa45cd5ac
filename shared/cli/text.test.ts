import { describe, expect, test } from "vitest";
import { parseDuration } from "./duration.ts";
import { parseHosts, parseVersion, parseWish } from "./refs.ts";
import { bytes, duration, pairs, percent, table, time } from "./text.ts";

describe("text", () => {
  test("aligns columns, numbers to the right, nothing as a dash", () => {
    const rows = [
      { host: "a", count: 5, note: null },
      { host: "long-name", count: 1_234, note: "x" },
    ];
    const text = table(rows, [
      { title: "HOST", value: (r) => r.host },
      { title: "COUNT", value: (r) => r.count },
      { title: "NOTE", value: (r) => r.note },
    ]);
    expect(text).toBe(
      ["HOST       COUNT  NOTE", "a              5  -", "long-name   1234  x", ""].join("\n"),
    );
  });

  test("says that there is nothing (no rows)", () => {
    expect(table([], [{ title: "A", value: () => 1 }], "no hosts")).toBe("no hosts\n");
  });

  test("lets no control character through to the terminal", () => {
    expect(pairs([["name", "a\x1b[31mb\nc"]])).toBe("name  a [31mb c\n");
  });

  test.each([
    [0, "0 B"],
    [999, "999 B"],
    [1_500, "1.5 kB"],
    [64e6, "64.0 MB"],
    [2.5e12, "2.5 TB"],
  ])("%d bytes read %s", (value, text) => {
    expect(bytes(value)).toBe(text);
  });

  test.each([
    [12, "12 ms"],
    [1_500, "1.5 s"],
    [600_000, "10 min"],
    [7_200_000, "2.0 h"],
    [259_200_000, "3.0 d"],
  ])("%d ms read %s", (value, text) => {
    expect(duration(value)).toBe(text);
  });

  test("shows times in UTC and shares in percent", () => {
    expect(time(0)).toBe("1970-01-01 00:00:00");
    expect(percent(0.1234)).toBe("12.3 %");
  });
});

describe("arguments", () => {
  test.each([
    ["30s", 30_000],
    ["1.5h", 5_400_000],
    ["250ms", 250],
  ])("%s is %d ms", (text, ms) => {
    expect(parseDuration(text, "--ttl")).toBe(ms);
  });

  test.each(["", "5", "5 minutes", "-1s"])("%j is no duration", (text) => {
    expect(() => parseDuration(text, "--ttl")).toThrow(/--ttl/);
  });

  test("tells versions from tags, and takes latest where nothing is named", () => {
    expect(parseWish("maps@2.1")).toEqual({ name: "maps", version: "2.1", tag: null });
    expect(parseWish("maps:stable")).toEqual({ name: "maps", version: null, tag: "stable" });
    expect(parseWish("maps")).toEqual({ name: "maps", version: null, tag: "latest" });
    expect(() => parseVersion("maps:stable")).toThrow(/NAME@VERSION/);
    expect(() => parseWish("../etc@1")).toThrow(/1–64/);
  });

  test("takes all hosts or a list without doubles", () => {
    expect(parseHosts("all")).toBeNull();
    expect(parseHosts("a,b,a")).toEqual(["a", "b"]);
    expect(() => parseHosts("")).toThrow(/--hosts/);
  });
});

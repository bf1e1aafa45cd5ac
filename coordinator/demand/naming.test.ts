import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Matcher } from "../../shared/match.ts";
import { testWorkload } from "../../test/support/workload.ts";
import type { LoggedLine } from "./access-log.ts";
import { namedByPath, namedByRules, withNames } from "./naming.ts";

const line = (url: string | null, more: Partial<LoggedLine> = {}): LoggedLine => ({
  ...{ timestampMs: 0, count: 1, origin: "", host: null, workload: null, category: null },
  header: () => undefined,
  ...more,
  url,
});

const path = (segment: number) => ({ from: "path" as const, segment, default: "none" });
const workloads = [
  testWorkload("shop", { match: { pathPrefix: "/shop" }, category: path(1) }),
  testWorkload("cart", { match: { pathPrefix: "/shop/cart/" }, category: path(3) }),
  testWorkload("video", {
    match: { host: "video.example" },
    category: { from: "query", name: "v", default: "none" },
  }),
];
const camera = testWorkload("camera", {
  match: { host: "camera.example" },
  category: { from: "header", name: "X-Camera", default: "none" },
});

describe("naming by rules", () => {
  const naming = namedByRules(new Matcher(workloads));

  test.each([
    ["/shop/red/1", {}, "shop", "red"],
    ["/shop/red/2?x=y", {}, "shop", "red"],
    ["/shop/cart/a/b/c", {}, "cart", "b"],
    ["/watch?v=7", { host: "video.example" }, "video", "7"],
    ["/watch?v=8", { host: "video.example" }, "video", "8"],
  ])("%s %o → %s/%s", (url, more, workload, category) => {
    expect(naming(line(url, more), null)).toEqual({ workload, category });
  });

  test("empty segments count for none, however many", () => {
    for (const category of ["red", "blue"])
      expect(naming(line(`/shop/////////${category}/1`), null)?.category).toBe(category);
  });

  test("nothing for what no rule fits, or a line without a target", () => {
    expect(naming(line("/blog"), null)).toBeNull();
    expect(naming(line(null, { host: "video.example" }), null)).toBeNull();
  });

  test("of a known workload only the category is asked (its own rule; unknown: default)", () => {
    expect(naming(line("/x/red"), "shop")).toEqual({ workload: "shop", category: "red" });
    expect(naming(line("/x/red"), "other")).toEqual({ workload: "other", category: "default" });
  });

  test("headers count where a rule reads them", () => {
    const byHeader = namedByRules(new Matcher([...workloads, camera]));
    for (const door of ["front", "back"]) {
      const logged = line("/live", {
        host: "camera.example",
        header: (name) => (name === "x-camera" ? door : undefined),
      });
      expect(byHeader(logged, null)).toEqual({ workload: "camera", category: door });
    }
  });

  test("is what the router would say, whatever came before (any targets)", () => {
    const matcher = new Matcher(workloads);
    const segment = fc.constantFrom("shop", "cart", "red", "", "%41", "a%2Fb", "x");
    const url = fc
      .tuple(fc.array(segment, { maxLength: 6 }), fc.constantFrom("", "?v=1", "?v=2", "?"))
      .map(([segments, query]) => `/${segments.join("/")}${query}`);
    const host = fc.constantFrom(null, "video.example");
    fc.assert(
      fc.property(fc.array(fc.tuple(url, host), { maxLength: 30 }), (requests) => {
        const remembering = namedByRules(matcher);
        for (const [target, from] of requests) {
          const match = matcher.match({ url: target, host: from ?? "", header: () => undefined });
          expect(remembering(line(target, { host: from }), null)).toEqual(
            match && { workload: match.workload.name, category: match.category },
          );
        }
      }),
    );
  });
});

describe("naming by path", () => {
  const naming = namedByPath("file");

  test.each([
    ["/shop/cart/1?x=/y", null, "shop", "cart"],
    ["/", null, "root", "default"],
    ["/tiles/7", "maps.example", "maps.example", "tiles"],
    [null, null, "file", "default"],
    ["//shop///cart//", null, "shop", "cart"],
  ])("%s at %s → %s/%s", (url, host, workload, category) => {
    expect(naming(line(url, { host }), null)).toEqual({ workload, category });
  });
});

describe("fixed names", () => {
  const naming = namedByRules(new Matcher(workloads));

  test.each([
    [{ workload: "w", category: "c" }, line(null), { workload: "w", category: "c" }],
    [{ workload: "shop" }, line("/x/red"), { workload: "shop", category: "red" }],
    [{ category: "c" }, line("/shop/red"), { workload: "shop", category: "c" }],
    [{ category: "c" }, line("/blog"), null],
    [
      {},
      line(null, { workload: "Own Name" }),
      { workload: "own-name-fc3a9d", category: "default" },
    ],
    [{}, line("/shop/red", { category: "a b" }), { workload: "shop", category: "a-b" }],
    [
      { workload: "w" },
      line(null, { workload: "own", category: "c" }),
      { workload: "w", category: "c" },
    ],
  ])("%o before the line's own, before rules", (fixed, logged, expected) => {
    const named = withNames(naming, fixed)(logged);
    if (expected?.workload.startsWith("own-name"))
      expect(named).toEqual({
        ...expected,
        workload: expect.stringMatching(/^own-name-[0-9a-f]{6}$/),
      });
    else expect(named).toEqual(expected);
  });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testWorkload } from "../test/support/workload.ts";
import { CategoryName } from "./domain.ts";
import { hostName, Matcher } from "./match.ts";

function line(url: string, headers: Record<string, string> = {}) {
  return { url, host: hostName(headers.host), header: (name: string) => headers[name] };
}

const matcher = new Matcher([
  testWorkload("root", { match: { pathPrefix: "/" } }),
  testWorkload("shop", { match: { pathPrefix: "/shop" }, category: rule("path", { segment: 1 }) }),
  testWorkload("cart", { match: { pathPrefix: "/shop/cart" } }),
  testWorkload("video", { match: { host: "video.example" }, category: rule("query", "v") }),
  testWorkload("both", {
    match: { host: "video.example", pathPrefix: "/live" },
    category: rule("header", "X-Camera"),
  }),
]);

function rule(from: "path" | "query" | "header", more: string | { segment: number }) {
  const given = typeof more === "string" ? { name: more } : more;
  return { from, default: "none", ...given };
}

describe("match", () => {
  test.each([
    ["/", {}, "root", "default"],
    ["/shopping", {}, "root", "default"],
    ["/shop", {}, "shop", "none"],
    ["/shop/red?x=1", {}, "shop", "red"],
    ["/shop/caf%C3%A9", {}, "shop", "café"],
    ["/shop/%E0%A4%A", {}, "shop", "none"],
    ["/shop/a%2Fb", {}, "shop", "none"],
    ["/shop/a%20b", {}, "shop", "none"],
    [`/shop/${"x".repeat(200)}`, {}, "shop", "none"],
    ["/shop/cart/1", {}, "cart", "default"],
    ["/watch?v=42", { host: "Video.Example:8080" }, "video", "42"],
    ["/watch", { host: "video.example" }, "video", "none"],
    ["/live/1", { host: "video.example", "x-camera": "door" }, "both", "door"],
    ["/live/1", { host: "other.example" }, "root", "default"],
  ])("%s %o → %s, %s", (url, headers, workload, category) => {
    const match = matcher.match(line(url, headers as Record<string, string>));
    expect([match?.workload.name, match?.category]).toEqual([workload, category]);
  });

  test("gives nothing when no rule fits", () => {
    expect(new Matcher([testWorkload("shop")]).match(line("/blog"))).toBeNull();
  });

  test("gives the same whatever the order of workloads, and always a valid category", () => {
    const workloads = ["/a", "/a/b", "/"].map((pathPrefix, i) =>
      testWorkload(`w${i}`, { match: { pathPrefix }, category: rule("path", { segment: 0 }) }),
    );
    const segment = fc.oneof(fc.constantFrom("a", "b", "%41", "%", ""), fc.string());
    const path = fc.array(segment, { maxLength: 4 }).map((all) => `/${all.join("/")}`);
    fc.assert(
      fc.property(path, fc.shuffledSubarray(workloads, { minLength: 3 }), (url, order) => {
        const match = new Matcher(order).match(line(url));
        expect(match?.workload).toEqual(new Matcher(workloads).match(line(url))?.workload);
        expect(CategoryName.safeParse(match?.category).success).toBe(true);
      }),
    );
  });
});

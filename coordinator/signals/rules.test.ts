import { describe, expect, test } from "vitest";
import type { SignalEvent } from "./event.ts";
import { placeEvent } from "./rules.ts";
import { SignalSettings } from "./settings.ts";

const event = (of: Partial<SignalEvent> = {}): SignalEvent => ({
  id: "1",
  startMs: 100,
  endMs: 200,
  summary: "Match day 12",
  categories: ["Football", "home"],
  location: "Berlin",
  description: "",
  ...of,
});
const sourceOf = (rules: object[], type = "webhook") => {
  const more = type === "feed" ? { url: "https://x.example/" } : {};
  const [source] = SignalSettings.parse({ sources: [{ name: "m", type, rules, ...more }] }).sources;
  if (!source) throw new Error("no source");
  return source;
};
const to = [{ workload: "shop" }];

describe("rules", () => {
  test.each([
    ["none", {}, true],
    ["equal but for case", { summary: "match DAY 12" }, true],
    ["not equal", { summary: "Match day" }, false],
    ["a pattern", { summary: { matches: "^match day \\d+$" } }, true],
    ["any of the categories", { category: "football" }, true],
    ["a pattern of categories", { category: { matches: "^ho" } }, true],
    ["none of the categories", { category: "opera" }, false],
    ["all must hold", { category: "home", location: "Hamburg" }, false],
    ["all hold", { category: "home", location: "berlin" }, true],
    ["a field that is empty", { description: "x" }, false],
  ])("when: %s", (_, when, holds) => {
    expect(placeEvent(sourceOf([{ when, to }]), event()).length).toBe(holds ? 1 : 0);
  });

  test("events of one title are one signal, whatever their numbers", () => {
    const source = sourceOf([{ to }]);
    const signals = ["Match day 12", "match day 3", "Opera"].map(
      (summary) => placeEvent(source, event({ summary }))[0]?.signal,
    );
    expect(signals).toEqual(["m: match day #", "m: match day #", "m: opera"]);
  });

  test("a named rule and a feed's items are one signal each", () => {
    expect(placeEvent(sourceOf([{ name: "games", to }]), event())[0]?.signal).toBe("m: games");
    expect(placeEvent(sourceOf([{ to }], "feed"), event())[0]?.signal).toBe("m: items");
  });

  test("rules for one signal add their targets, with the longer lead and lag", () => {
    const placed = placeEvent(
      sourceOf([
        { to: [{ workload: "*" }], leadMs: 5, lagMs: 10 },
        { to: [{ workload: "shop", category: "eu" }], leadMs: 7, lagMs: 3 },
        { name: "other", to },
      ]),
      event(),
    );
    expect(placed).toMatchObject([
      {
        signal: "m: match day #",
        leadMs: 7,
        lagMs: 10,
        targets: [
          { workload: null, category: null },
          { workload: "shop", category: "eu" },
        ],
      },
      { signal: "m: other" },
    ]);
  });

  test("a posted event may name its targets itself", () => {
    const targets = [{ workload: "shop", category: null }];
    expect(
      placeEvent(sourceOf([{ when: { summary: "no" }, to }]), event({ targets })),
    ).toMatchObject([{ targets }]);
  });
});

describe("settings", () => {
  const problems = (source: object) =>
    SignalSettings.safeParse({ sources: [source] }).error?.issues.map(
      (i) => `${i.path.join(".")}: ${i.message}`,
    ) ?? [];
  const rules = [{ to }];

  test.each([
    ["unknown key", { name: "a", type: "webhook", rules, colour: 1 }, /olour/],
    ["no place", { name: "a", type: "calendar", rules }, /exactly one of url/],
    [
      "two places",
      { name: "a", type: "calendar", url: "https://x.example", file: "/x", rules },
      /exactly one of url/,
    ],
    [
      "password in the URL",
      { name: "a", type: "feed", url: "https://u:p@x.example", rules },
      /no user/,
    ],
    ["no HTTP", { name: "a", type: "feed", url: "ftp://x.example/", rules }, /url/],
    [
      "bad pattern",
      { name: "a", type: "webhook", rules: [{ when: { summary: { matches: "(" } }, to }] },
      /summary/,
    ],
    [
      "bad zone",
      { name: "a", type: "holidays", country: "DE", timeZone: "Mars", rules },
      /time zone/,
    ],
    [
      "two secrets",
      { name: "a", type: "feed", url: "https://x.example", auth: { file: "a", env: "B" }, rules },
      /exactly one of file, env/,
    ],
    ["no rules", { name: "a", type: "holidays", country: "DE", rules: [] }, /rules/],
    ["reserved", { name: "events", type: "holidays", country: "DE", rules }, /name of a webhook/],
  ])("%s is refused", (_, source, message) => {
    expect(problems(source).join("\n")).toMatch(message);
  });

  test("names are there once", () => {
    const source = { name: "a", type: "webhook", rules };
    expect(SignalSettings.safeParse({ sources: [source, source] }).success).toBe(false);
  });
});

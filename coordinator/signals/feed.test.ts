import { describe, expect, test } from "vitest";
import { readFeed } from "./feed.ts";

const span = { fromMs: Date.UTC(2026, 10, 1), toMs: Date.UTC(2026, 11, 1), durationMs: 3_600_000 };
const at = Date.UTC(2026, 10, 27, 10);

const RSS = `<?xml version="1.0"?><rss version="2.0"><channel><title>T</title><link>http://x</link>
<description>d</description>
<item><title>New level</title><guid>g1</guid><pubDate>Fri, 27 Nov 2026 10:00:00 GMT</pubDate>
<category>games</category><description>&lt;p&gt;all&lt;/p&gt;</description></item>
<item><title>Old</title><pubDate>Fri, 27 Nov 2020 10:00:00 GMT</pubDate></item>
<item><title>No date</title></item></channel></rss>`;
const ATOM = `<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>A</title><id>urn:1</id>
<updated>2026-11-27T10:00:00Z</updated><entry><title>New level</title><id>g1</id>
<published>2026-11-27T11:00:00+01:00</published><updated>2026-11-27T12:00:00Z</updated>
<category term="games"/><summary>all</summary></entry></feed>`;
const JSON_FEED = JSON.stringify({
  version: "https://jsonfeed.org/version/1.1",
  title: "J",
  items: [
    {
      id: "g1",
      title: "New level",
      date_published: "2026-11-27T10:00:00Z",
      tags: ["games"],
      summary: "all",
      content_text: "x",
    },
  ],
});

describe("feed", () => {
  test.each([
    ["RSS", RSS],
    ["Atom", ATOM],
    ["JSON Feed", JSON_FEED],
  ])("an item of %s is an event at its publication", (_, text) => {
    expect(readFeed(text, span).events).toEqual([
      {
        id: "g1",
        startMs: at,
        endMs: at + 3_600_000,
        summary: "New level",
        categories: ["games"],
        location: "",
        description: "all",
      },
    ]);
  });

  test("items without a date are counted", () => {
    expect(readFeed(RSS, span).problems).toEqual(["1 items have no date"]);
  });

  test("JSON with a list of events is read as if posted", () => {
    const text = JSON.stringify({
      events: [
        { id: "1", summary: "Launch", start: "2026-11-27T10:00:00Z", end: "2026-11-27T12:00:00Z" },
      ],
    });
    expect(readFeed(text, span).events).toMatchObject([
      { id: "1", startMs: at, endMs: at + 7_200_000, summary: "Launch" },
    ]);
    expect(() => readFeed(JSON.stringify({ events: [{ id: "1" }] }), span)).toThrow();
  });

  test.each(["", "<html></html>", "{}", "[]", "<rss><channel>"])("no feed: %j", (text) => {
    expect(() => readFeed(text, span)).toThrow();
  });
});

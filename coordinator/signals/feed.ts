/**
 * RSS, Atom, RDF and JSON Feed into events, an item at the time of its publication; also plain JSON
 * `{"events": [...]}` as it would be posted. The only importer of feedsmith.
 */
import { parseFeed } from "feedsmith";
import { PostedEvent } from "../../shared/api-signals.ts";
import type { Read } from "./calendar.ts";
import { CATEGORIES_MAX, type SignalEvent, shortText } from "./event.ts";
import { fromPosted } from "./posted.ts";

export type FeedOptions = { fromMs: number; toMs: number; durationMs: number };

type Text = string | { value?: string | undefined } | undefined;
type Item = {
  id: string | undefined;
  title: Text;
  date: string | undefined;
  summary: Text;
  categories: (string | undefined)[];
};

/** Throws when the text is none of these. */
export function readFeed(text: string, { fromMs, toMs, durationMs }: FeedOptions): Read {
  const posted = postedEvents(text);
  if (posted) return within(posted, fromMs, toMs, 0);
  const events: SignalEvent[] = [];
  let undated = 0;
  for (const item of itemsOf(text)) {
    const startMs = Date.parse(item.date ?? "");
    if (Number.isNaN(startMs)) {
      undated++;
      continue;
    }
    const summary = textOf(item.title);
    events.push({
      id: shortText(item.id) || `${summary}@${startMs}`,
      startMs,
      endMs: startMs + durationMs,
      summary,
      categories: item.categories.map(shortText).filter(Boolean).slice(0, CATEGORIES_MAX),
      location: "",
      description: textOf(item.summary),
    });
  }
  return within(events, fromMs, toMs, undated);
}

function itemsOf(text: string): Item[] {
  const { format, feed } = parseFeed(text);
  switch (format) {
    case "rss":
      return (feed.items ?? []).map((item) => ({
        id: item.guid?.value ?? item.link,
        title: item.title,
        date: item.pubDate ?? item.dc?.dates?.[0],
        summary: item.description,
        categories: (item.categories ?? []).map(({ name }) => name),
      }));
    case "atom":
      return (feed.entries ?? []).map((entry) => ({
        id: entry.id,
        title: entry.title,
        date: entry.published ?? entry.updated,
        summary: entry.summary,
        categories: (entry.categories ?? []).map(({ term, label }) => term ?? label),
      }));
    case "rdf":
      return (feed.items ?? []).map((item) => ({
        id: item.link,
        title: item.title,
        date: item.dc?.dates?.[0],
        summary: item.description,
        categories: [],
      }));
    case "json":
      return (feed.items ?? []).map((item) => ({
        id: item.id ?? item.url,
        title: item.title ?? item.content_text,
        date: item.date_published ?? item.date_modified,
        summary: item.summary,
        categories: item.tags ?? [],
      }));
  }
}

/** Null when it is not our own form. */
function postedEvents(text: string): SignalEvent[] | null {
  if (!text.trimStart().startsWith("{")) return null;
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null || !("events" in value)) return null;
  return PostedEvent.array().parse(value.events).map(fromPosted);
}

function textOf(text: Text): string {
  const plain = typeof text === "object" ? text.value : text;
  return shortText(plain?.replace(/<[^>]{0,500}>/g, " "));
}

function within(events: SignalEvent[], fromMs: number, toMs: number, undated: number): Read {
  return {
    events: events.filter(({ startMs, endMs }) => startMs < toMs && endMs >= fromMs),
    problems: undated > 0 ? [`${undated} items have no date`] : [],
  };
}

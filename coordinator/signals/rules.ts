/** Which signal an event is an occurrence of, and what it may affect, by a source's rules. */
import type { SignalEvent } from "./event.ts";
import type { Matcher, Rule, SignalSource } from "./settings.ts";
import type { PlacedEvent, Target } from "./timeline.ts";

type Source = Pick<SignalSource, "name" | "type"> & { rules: readonly Rule[] };
const HOUR_MS = 3_600_000;
const TITLE_MAX = 80;

/** One entry per signal the event is an occurrence of; none when no rule takes it. */
export function placeEvent(source: Source, event: SignalEvent): PlacedEvent[] {
  const placed = new Map<string, PlacedEvent>();
  const add = (name: string, span: { leadMs: number; lagMs: number }, targets: Target[]) => {
    const signal = `${source.name}: ${name}`;
    const known = placed.get(signal);
    placed.set(signal, {
      signal,
      id: event.id,
      startMs: event.startMs,
      endMs: Math.max(event.startMs, event.endMs),
      leadMs: Math.max(span.leadMs, known?.leadMs ?? 0),
      lagMs: Math.max(span.lagMs, known?.lagMs ?? 0),
      targets: [...(known?.targets ?? []), ...targets],
    });
  };
  if (event.targets && event.targets.length > 0)
    add(titleOf(event.summary), { leadMs: HOUR_MS, lagMs: HOUR_MS }, event.targets);
  for (const rule of source.rules) {
    if (!holds(rule, event)) continue;
    const targets = rule.to.map(({ workload, category }) => ({
      workload: workload === "*" ? null : workload,
      category: category ?? null,
    }));
    const title = source.type === "feed" ? "items" : titleOf(event.summary);
    add(rule.name ?? title, rule, targets);
  }
  return [...placed.values()];
}

/** "Match day 12" and "Match day 13" are occurrences of one. */
function titleOf(summary: string): string {
  const title = summary.toLowerCase().replace(/\d+/g, "#").slice(0, TITLE_MAX).trim();
  return title || "untitled";
}

function holds({ when }: Rule, event: SignalEvent): boolean {
  return (
    fits(when.summary, [event.summary]) &&
    fits(when.category, event.categories) &&
    fits(when.location, [event.location]) &&
    fits(when.description, [event.description])
  );
}

function fits(matcher: Matcher | undefined, texts: readonly string[]): boolean {
  if (matcher === undefined) return true;
  if (typeof matcher === "string")
    return texts.some((text) => text.toLowerCase() === matcher.toLowerCase());
  const pattern = new RegExp(matcher.matches, "iu");
  return texts.some((text) => pattern.test(text));
}

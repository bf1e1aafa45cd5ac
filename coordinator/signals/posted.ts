/** A posted event in the form that all sources have. */
import type { PostedEvent } from "../../shared/api-signals.ts";
import { EVENT_MS_MAX, type SignalEvent, shortText } from "./event.ts";

export function fromPosted(event: PostedEvent): SignalEvent {
  const startMs = event.start;
  const endMs = Math.min(Math.max(startMs, event.end ?? startMs), startMs + EVENT_MS_MAX);
  return {
    id: shortText(event.id),
    startMs,
    endMs,
    summary: shortText(event.summary),
    categories: event.categories.map(shortText),
    location: shortText(event.location),
    description: shortText(event.description),
    ...(event.targets && {
      targets: event.targets.map(({ workload, category }) => ({
        workload,
        category: category ?? null,
      })),
    }),
  };
}

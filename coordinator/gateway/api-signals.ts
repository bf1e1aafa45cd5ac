/** The part of the API's table that is about announced events. */
import {
  EventList,
  EventsPosted,
  EventsQuery,
  EventsRemoval,
  EventsRemoved,
  EventsRequest,
  SignalsView,
} from "../../shared/api-signals.ts";
import { callerOf, type Route, route } from "./api-route.ts";
import type { Operations } from "./operations.ts";

const EVENTS_BYTES_MAX = 2 << 20;

export function signalRoutes(operations: Operations): Route[] {
  return [
    route({
      method: "GET",
      path: "/api/v1/signals",
      access: "viewer",
      summary: "Sources of announced events, how they do, and what was learned from them.",
      answer: SignalsView,
      handle: () => operations.signals(),
    }),
    route({
      method: "GET",
      path: "/api/v1/events",
      access: "viewer",
      summary: "Announced events, in order of their start.",
      query: EventsQuery,
      answer: EventList,
      handle: ({ query }) => operations.events(query),
    }),
    route({
      method: "POST",
      path: "/api/v1/events",
      access: "operator",
      summary: "Announces events, past or to come; one that is posted again is replaced.",
      bodyBytesMax: EVENTS_BYTES_MAX,
      body: EventsRequest,
      answer: EventsPosted,
      audited: { action: "events.post", object: ({ body }) => body.source },
      handle: ({ body }, call) => operations.postEvents(body, callerOf(call)),
    }),
    route({
      method: "POST",
      path: "/api/v1/events/remove",
      access: "operator",
      summary: "Takes posted events back.",
      body: EventsRemoval,
      answer: EventsRemoved,
      audited: { action: "events.remove", object: ({ body }) => body.source },
      handle: ({ body }, call) => operations.removeEvents(body, callerOf(call)),
    }),
  ];
}

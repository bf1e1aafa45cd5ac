/** The rows of the API about publishers. The operations audit changes in their own transaction. */
import { z } from "zod";
import { PublisherList, PublisherTrust } from "../../shared/api-publishers.ts";
import { PublisherName } from "../../shared/publishers.ts";
import { callerOf, type Route, route } from "./api-route.ts";
import type { Operations } from "./operations.ts";

export function publisherRoutes(operations: Operations): Route[] {
  return [
    route({
      method: "GET",
      access: "viewer",
      path: "/api/v1/publishers",
      summary: "Whose signatures count for which artifact names.",
      answer: PublisherList,
      handle: () => operations.publishers(),
    }),
    route({
      method: "POST",
      access: "admin",
      path: "/api/v1/publishers",
      summary: "Trusts a publisher's key, or changes what it, a host or all hosts may publish.",
      body: PublisherTrust,
      answer: PublisherList,
      handle: ({ body }, call) => operations.trustPublisher(body, callerOf(call)),
    }),
    route({
      method: "POST",
      access: "admin",
      path: "/api/v1/publishers/:name/distrust",
      summary: "Nothing a publisher signed is fetched or activated any more.",
      params: z.strictObject({ name: PublisherName }),
      answer: PublisherList,
      handle: ({ params }, call) => operations.distrustPublisher(params.name, callerOf(call)),
    }),
  ];
}

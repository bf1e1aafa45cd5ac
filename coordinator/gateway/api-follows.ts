/** The rows of the API about tags that follow a URL. */
import { FollowList, FollowRemoval, FollowRequest } from "../../shared/api-follows.ts";
import { followKey } from "../../shared/follow.ts";
import { callerOf, type Route, route } from "./api-route.ts";
import type { Operations } from "./operations.ts";

export function followRoutes(operations: Operations): Route[] {
  return [
    route({
      method: "GET",
      path: "/api/v1/follows",
      access: "viewer",
      summary: "Tags that follow a URL, who looks, and how it goes.",
      answer: FollowList,
      handle: () => operations.follows(),
    }),
    route({
      method: "POST",
      path: "/api/v1/follows",
      access: "operator",
      summary: "Lets a tag follow a URL: what changes there is published and tagged by itself.",
      body: FollowRequest,
      answer: FollowList,
      audited: { action: "follow.add", object: ({ body }) => followKey(body) },
      handle: ({ body }, call) => operations.follow(body, callerOf(call)),
    }),
    route({
      method: "POST",
      path: "/api/v1/follows/remove",
      access: "operator",
      summary: "A tag stays where it is from now on.",
      body: FollowRemoval,
      answer: FollowList,
      audited: { action: "follow.remove", object: ({ body }) => followKey(body) },
      handle: ({ body }, call) => operations.unfollow(body, callerOf(call)),
    }),
  ];
}

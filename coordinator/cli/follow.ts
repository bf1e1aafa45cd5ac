/** `prestage publish URL --follow` and `prestage follow`: tags that follow a URL. */
import type { Command } from "commander";
import type { FollowList } from "../../shared/api-follows.ts";
import type { Call, Shell } from "../../shared/cli/command.ts";
import { parseDuration } from "../../shared/cli/duration.ts";
import { parseWish } from "../../shared/cli/refs.ts";
import { duration, table } from "../../shared/cli/text.ts";
import { PrestageError } from "../../shared/errors.ts";
import { followKey } from "../../shared/follow.ts";
import { contextPath, readAccess } from "./context.ts";
import { addApiCommand, boundApi } from "./session.ts";

type Follow = FollowList["follows"][number];
const URL_SHOWN_MAX = 60;

/** Lets `wish.tag` follow `wish.url`, through the coordinator. */
export async function startFollowing(
  call: Call<{ context?: string }>,
  wish: { url: string; name: string; tag: string; every: string },
): Promise<void> {
  const { name, tag, url } = wish;
  const everyMs = parseDuration(wish.every, "--follow");
  const access = await readAccess(contextPath(call.options.context, call.terminal));
  const { ApiClient } = await import("./client.ts");
  const client = new ApiClient(access);
  try {
    const api = boundApi(async () => client, call.signal);
    const { follows } = await api.post<FollowList>("follows", { name, tag, url, everyMs });
    const added = follows.find((f) => f.name === name && f.tag === tag);
    if (!added) throw new PrestageError("INTERNAL", "the coordinator did not keep it");
    call.show(added, () => addedText(added));
  } finally {
    await client.close();
  }
}

function addedText({ name, tag, everyMs, host }: Follow): string {
  const who = host === null ? "when an agent connects" : `by ${host}`;
  return `${name}:${tag} is looked at every ${duration(everyMs)} ${who}; see \`prestage follow list\`\n`;
}

export function addFollow(program: Command, shell: Shell, group: string): void {
  const follow = program.command("follow").summary("tags that follow a URL");
  follow
    .helpGroup(group)
    .description(
      "Tags that follow a URL: one agent of the fleet looks now and then, publishes what is new, " +
        "and moves the tag. Begun with `prestage publish URL --tag TAG --follow 5m`.",
    );
  addApiCommand(follow, shell, {
    usage: "list",
    isDefault: true,
    summary: "what follows which URL, who looks, and how it goes",
    run: async (call, api) => {
      const list = await api.get<FollowList>("follows");
      call.show(list, () => followsText(list, call.clock.now()));
    },
  });
  addApiCommand(follow, shell, {
    usage: "remove <name:tag>",
    summary: "look no more; the tag stays where it is",
    run: async (call, api) => {
      const { name, tag } = parseWish(call.arg(0));
      if (tag === null) throw new PrestageError("USAGE", `${call.arg(0)}: needs NAME:TAG`);
      const list = await api.post<FollowList>("follows/remove", { name, tag });
      call.show(list, () => `${followKey({ name, tag })} follows no more\n`);
    },
  });
}

export function followsText({ follows }: FollowList, nowMs: number): string {
  const ago = (ms: number | null) => (ms === null ? null : `${duration(nowMs - ms)} ago`);
  const list = table(
    follows,
    [
      { title: "TAG", value: (f) => followKey(f) },
      { title: "VERSION", value: (f: Follow) => f.version },
      { title: "STATE", value: (f) => f.state },
      { title: "EVERY", value: (f) => duration(f.everyMs), right: true },
      { title: "LOOKED", value: (f) => ago(f.lookedMs), right: true },
      { title: "MOVED", value: (f) => ago(f.changedMs), right: true },
      { title: "HOST", value: (f) => f.host },
      { title: "URL", value: (f) => shortened(f.url) },
    ],
    "no tag follows a URL",
  );
  const notes = follows.flatMap((f) =>
    f.error
      ? [`${followKey(f)}: ${f.error.message} (${f.error.code}, ${f.failures} in a row)\n`]
      : [],
  );
  return list + notes.join("");
}

const shortened = (url: string) =>
  url.length <= URL_SHOWN_MAX ? url : `${url.slice(0, URL_SHOWN_MAX - 1)}…`;

/** What members beyond the site's gossip have of a version, the publisher asked first. */
import type { Member } from "../../shared/domain.ts";
import { type Clock, within } from "../../shared/runtime/clock.ts";
import type { Bitmap } from "./transfer/bitmap.ts";
import type { Exchange } from "./wire/exchange.ts";
import { decodeHoldings } from "./wire/gossip.ts";

const ASKED_MAX = 4;
/** Asked again after as long. */
const ANSWER_MS = 3_000;

export async function* askAround(
  version: { id: string; publisher: string | undefined },
  {
    members,
    site,
    exchange,
    clock,
  }: { members: Iterable<Member>; site: string; exchange: Exchange; clock: Clock },
  signal: AbortSignal,
): AsyncGenerator<{ host: string; have: Bitmap }> {
  const { id, publisher } = version;
  const others = [...members]
    .filter((m) => m.site !== site || m.host === publisher)
    .sort((a, b) => Number(b.host === publisher) - Number(a.host === publisher))
    .slice(0, ASKED_MAX);
  const what = { kind: "holdings" as const, hash: id, bytes: null, foreground: false };
  const asked = others.map(async ({ host, site: theirs }) => {
    const reply = await within(clock, ANSWER_MS, signal, (until) =>
      exchange.ask(host, what, { signal: until }),
    );
    return { host, have: reply.ok && theirs !== site ? decodeHoldings(reply.bytes) : null };
  });
  for (const answer of asked) {
    const { host, have } = await answer;
    if (have) yield { host, have };
  }
}

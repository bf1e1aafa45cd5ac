/** What members beyond the site's gossip have of a version, the publisher asked first. */
import type { Member } from "../../shared/domain.ts";
import type { Bitmap } from "./bitmap.ts";
import type { Exchange } from "./exchange.ts";
import { decodeHoldings } from "./gossip.ts";

const ASKED_MAX = 4;

export async function* askAround(
  version: { id: string; publisher: string | undefined },
  { members, site, exchange }: { members: Iterable<Member>; site: string; exchange: Exchange },
  signal: AbortSignal,
): AsyncGenerator<{ host: string; have: Bitmap }> {
  const { id, publisher } = version;
  const others = [...members]
    .filter((m) => m.site !== site || m.host === publisher)
    .sort((a, b) => Number(b.host === publisher) - Number(a.host === publisher))
    .slice(0, ASKED_MAX);
  for (const { host, site: theirs } of others) {
    const what = { kind: "holdings" as const, hash: id, bytes: null, foreground: false };
    const reply = await exchange.ask(host, what, { signal });
    const have = reply.ok ? decodeHoldings(reply.bytes) : null;
    if (have && theirs !== site) yield { host, have };
  }
}

/**
 * Who in other sites has a version, for a host that brings it into its own; and which site goes to
 * the origin: one at a time, for as long as it goes on asking, so that the origin gives a version
 * once to the whole fleet. Nothing of this outlives the process: two sites at an origin are waste
 * and no harm.
 *
 * Refused: the origin for every site (as many copies as sites, over the link all of them share).
 */
import type { HostId } from "../../shared/domain.ts";

export type Asker = { host: HostId; site: string };
export type Wanted = {
  hash: string;
  foreground: boolean;
  /** Its way to the origin works, as far as it knows. */
  reaches: boolean;
};
/** Connected hosts that have all of a version. */
export type Holders = (hash: string) => Iterable<Asker>;

/** A site that asks no more gives its turn up; hosts ask every second. */
const TURN_MS = 4_000;
const LOOKED_UP_MS = 1_000;
/** So many hosts that have all of it, and of each kind that fetch it: at most 8 together. */
const HOLDERS_MAX = 4;
const FETCHING_MAX = 2;
const VERSIONS_MAX = 10_000;

type Version = {
  turn: { site: string; foreground: boolean; untilMs: number } | null;
  /** Who brings it into which site, and when it said so last. */
  askers: Map<HostId, { site: string; atMs: number }>;
  holders: readonly Asker[];
  lookedUpMs: number;
};

export class Elsewhere {
  readonly #holders: Holders;
  /** Those asked for last at the end. */
  readonly #versions = new Map<string, Version>();

  constructor(holders: Holders) {
    this.#holders = holders;
  }

  /**
   * `origin`: it is for the asker's site to go to the origin. `ahead`: another host of the site has
   * it, or brings it in and said so earlier.
   */
  answer(
    asker: Asker,
    want: Wanted,
    nowMs: number,
  ): { hash: string; origin: boolean; ahead: boolean; hosts: HostId[] } {
    const version = this.#version(want.hash, nowMs);
    for (const [host, { atMs }] of version.askers)
      if (nowMs - atMs >= TURN_MS) version.askers.delete(host);
    version.askers.set(asker.host, { site: asker.site, atMs: nowMs });
    const origin = takeTurn(version, asker.site, want, nowMs);
    const whole = version.holders.filter(({ site }) => site !== asker.site);
    const first = [...version.askers].find(([, { site }]) => site === asker.site)?.[0];
    const held = version.holders.some(
      ({ host, site }) => site === asker.site && host !== asker.host,
    );
    const fetching = [...version.askers].flatMap(([host, { site }]) =>
      site === asker.site ? [] : { host, site },
    );
    const { turn = [], rest = [] } = Object.groupBy(fetching, ({ site }) =>
      site === version.turn?.site ? "turn" : "rest",
    );
    const hosts = new Set([
      ...some(whole, HOLDERS_MAX, asker.host),
      ...some(turn, FETCHING_MAX, asker.host),
      ...some(rest, FETCHING_MAX, asker.host),
    ]);
    return { hash: want.hash, origin, ahead: held || first !== asker.host, hosts: [...hosts] };
  }

  #version(hash: string, nowMs: number): Version {
    const known = this.#versions.get(hash);
    const version = known ?? {
      turn: null,
      askers: new Map(),
      holders: [],
      lookedUpMs: -LOOKED_UP_MS,
    };
    this.#versions.delete(hash);
    this.#versions.set(hash, version);
    const oldest = this.#versions.keys().next();
    if (this.#versions.size > VERSIONS_MAX && !oldest.done) this.#versions.delete(oldest.value);
    if (nowMs - version.lookedUpMs >= LOOKED_UP_MS) {
      version.holders = [...this.#holders(hash)];
      version.lookedUpMs = nowMs;
    }
    return version;
  }
}

/** A request goes before staging; who does not reach the origin keeps nobody from it. */
function takeTurn(version: Version, site: string, want: Wanted, nowMs: number): boolean {
  const { turn } = version;
  const others = turn !== null && turn.site !== site && nowMs < turn.untilMs;
  if (others && (turn.foreground || !want.foreground)) return false;
  const { foreground, reaches } = want;
  if (reaches) version.turn = { site, foreground, untilMs: nowMs + TURN_MS };
  else if (turn?.site === site) version.turn = null;
  return true;
}

/** The same ones for an asker each time, and others for the next asker. */
function some(hosts: readonly Asker[], most: number, asker: HostId): HostId[] {
  let sum = 0;
  for (let i = 0; i < asker.length; i++) sum += asker.charCodeAt(i);
  const first = hosts.length > 0 ? sum % hosts.length : 0;
  return [...hosts.slice(first), ...hosts.slice(0, first)].slice(0, most).map((h) => h.host);
}

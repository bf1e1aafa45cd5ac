/**
 * Tags that follow a URL: keeps the list, hands each to one agent of the fleet, and takes in how
 * that one fares. The agents look, publish and move the tags; see `agent/following.ts`.
 */
import type { FollowList, FollowRemoval, FollowRequest } from "../shared/api-follows.ts";
import type { HostId } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import { FOLLOWS_MAX, type FollowOrder, type FollowState, followKey } from "../shared/follow.ts";
import { RESERVED_PREFIX } from "../shared/publishers.ts";
import { type Clock, every } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import { parseSourceUrl } from "../shared/source-url.ts";
import { assign, type Placement, UNPLACED } from "./follow/assign.ts";
import type { FollowRecord } from "./store/follows.ts";
import type { Store } from "./store/store.ts";

export type FollowingDeps = {
  clock: Clock;
  log: Log;
  store: Store;
  /** Hosts whose agents are connected. */
  live(): HostId[];
  /** Who looks after what has changed: agents have to be told. */
  changed(): void;
};
type Followed = { record: FollowRecord; placement: Placement; state: FollowState | null };

const ASSIGN_MS = 1_000;

export class Following {
  readonly #deps: FollowingDeps;
  readonly #followed = new Map<string, Followed>();

  constructor(deps: FollowingDeps) {
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    for (const record of this.#deps.store.follows.all()) {
      const placement = { ...UNPLACED, host: record.host };
      this.#followed.set(followKey(record), { record, placement, state: null });
    }
    await every(this.#deps.clock, ASSIGN_MS, signal, () => this.#assign());
  }

  /** What the agent of this host is to look after. */
  ordersFor(host: HostId): FollowOrder[] {
    return [...this.#followed.values()]
      .filter(({ placement }) => placement.host === host)
      .map(({ record: { name, tag, url, everyMs, revision } }) => {
        return { name, tag, url, everyMs, revision };
      });
  }

  /** What an agent reports of what it looks after; others' states count for nothing. */
  async reported(host: HostId, states: readonly FollowState[]): Promise<void> {
    for (const state of states) {
      const followed = this.#followed.get(followKey(state));
      if (!followed || followed.placement.host !== host || followed.record.url !== state.url)
        continue;
      followed.state = state;
      if (state.failures === 0) followed.placement = { ...followed.placement, failedOn: [] };
      const { revision, version } = state;
      if (revision === null || revision === followed.record.revision) continue;
      const changedMs = this.#deps.clock.now();
      followed.record = { ...followed.record, revision, version, changedMs };
      await this.#deps.store.follows.put(followed.record);
    }
  }

  async add(request: FollowRequest, by: string): Promise<FollowList> {
    parseSourceUrl(request.url);
    if (request.name.startsWith(RESERVED_PREFIX))
      throw new PrestageError("FORBIDDEN", `names with ${RESERVED_PREFIX} are the fleet's own`);
    const key = followKey(request);
    const before = this.#followed.get(key);
    if (!before && this.#followed.size >= FOLLOWS_MAX)
      throw new PrestageError("TOO_LARGE", `over ${FOLLOWS_MAX} tags follow a URL`);
    const same = before?.record.url === request.url;
    const record: FollowRecord = {
      ...request,
      addedBy: by,
      addedMs: Math.round(this.#deps.clock.now()),
      host: before?.record.host ?? null,
      revision: same ? before.record.revision : null,
      version: same ? before.record.version : null,
      changedMs: same ? before.record.changedMs : null,
    };
    await this.#deps.store.follows.put(record);
    const placement = before?.placement ?? UNPLACED;
    this.#followed.set(key, { record, placement, state: same ? before.state : null });
    await this.#assign();
    this.#deps.changed();
    return this.list();
  }

  async remove({ name, tag }: FollowRemoval): Promise<FollowList> {
    const key = followKey({ name, tag });
    if (!this.#followed.has(key))
      throw new PrestageError("NOT_FOUND", `${key} follows no URL`, {
        remedy: "See `prestage follow list`.",
      });
    await this.#deps.store.follows.remove(name, tag);
    this.#followed.delete(key);
    this.#deps.changed();
    return this.list();
  }

  list(): FollowList {
    return {
      follows: [...this.#followed.values()].map(({ record, placement, state }) => ({
        ...record,
        host: placement.host,
        state: state === null ? "pending" : state.failures > 0 ? "failing" : "ok",
        lookedMs: state?.lookedMs ?? null,
        failures: state?.failures ?? 0,
        error: state?.code ? { code: state.code, message: state.message ?? "" } : null,
      })),
    };
  }

  async #assign(): Promise<void> {
    if (this.#followed.size === 0) return;
    const { clock, log, store, live } = this.#deps;
    const placements = new Map([...this.#followed].map(([key, f]) => [key, f.placement]));
    const failures = (key: string) => this.#followed.get(key)?.state?.failures ?? 0;
    const next = assign(placements, new Set(live()), failures, clock.monotonic());
    let moved = false;
    for (const [key, placement] of next) {
      const followed = this.#followed.get(key);
      if (!followed) continue;
      const from = followed.placement.host;
      followed.placement = placement;
      if (placement.host === from) continue;
      moved = true;
      followed.state = null;
      followed.record = { ...followed.record, host: placement.host };
      log.info({ follow: key, from, host: placement.host }, "followed tag has another host");
      await store.follows.put(followed.record);
    }
    if (moved) this.#deps.changed();
  }
}

/** From what a workload names (`weights-{category}`, a version or a tag) to paths on this disk. */
import { type ArtifactRef, categoryKey } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import type { Clock } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import type { Workload, WorkloadArtifact } from "../shared/workload.ts";
import type { LastKnown } from "./persisted.ts";

export type Resolved = { ref: ArtifactRef; manifestHash: string };
export type Staging = { foreground: boolean; priority: number; signal: AbortSignal };

export type ArtifactsDeps = {
  clock: Clock;
  log: Log;
  lastKnown: LastKnown;
  /** Asks the coordinator; rejects with UNREACHABLE or TIMEOUT when it does not answer in time. */
  ask(
    name: string,
    version: string | null,
    tag: string | null,
    options: { timeoutMs: number },
  ): Promise<Resolved>;
  /** Whether the coordinator is there now. */
  connected(): boolean;
  ensure(manifestHash: string, staging: Staging): Promise<string>;
  /** While pinned by somebody, a version is not dropped to make room. */
  pin(manifestHash: string, owner: string): void;
  unpin(manifestHash: string, owner: string): void;
  markUsed(manifestHash: string): Promise<void>;
  /** Whether the version is here whole. */
  active(manifestHash: string): boolean;
};

const ASK_MS_MAX = 30_000;
/** While the coordinator is away: long enough for one that only restarts. */
const ASK_AWAY_MS_MAX = 3_000;
/** A tag is asked again when the answer is older than this. */
const TAG_FRESH_MS = 10_000;
/** Names remembered; far above what one host runs. */
const RESOLVED_MAX = 20_000;

export class Artifacts {
  readonly #deps: ArtifactsDeps;
  readonly #askedMs = new Map<string, number>();
  /** Versions that the environment of a category runs from. */
  readonly #running = new Map<string, Set<string>>();
  /** Versions that were staged last, of those. */
  readonly #latest = new Map<string, Set<string>>();

  constructor(deps: ArtifactsDeps) {
    this.#deps = deps;
  }

  /** Paths of the activated trees by the names the environment's command uses. */
  async stage(
    workload: Workload,
    category: string,
    staging: Staging,
  ): Promise<Record<string, string>> {
    const key = categoryKey(workload.name, category);
    const latest = new Set<string>();
    this.#latest.set(key, latest);
    const entries = await Promise.all(
      workload.artifacts.map(async (artifact) => {
        const { manifestHash } = await this.resolve(nameFor(artifact, category), artifact);
        this.#pin(key, manifestHash);
        latest.add(manifestHash);
        return [artifact.as, await this.#deps.ensure(manifestHash, staging)] as const;
      }),
    );
    return Object.fromEntries(entries);
  }

  /** A request was served by the category's environment: what it runs from was of use. */
  async used(workload: string, category: string): Promise<void> {
    const hashes = this.#running.get(categoryKey(workload, category)) ?? [];
    await Promise.all([...hashes].map((hash) => this.#deps.markUsed(hash)));
  }

  /** What the coordinator says a category needs now: no tag has to be asked for. */
  told(workload: Workload, category: string, needed: readonly Resolved[]): void {
    for (const artifact of workload.artifacts) {
      const name = nameFor(artifact, category);
      const now = needed.find(({ ref }) => ref.name === name);
      if (now) this.#remember(keyOf(name, artifact), now);
    }
  }

  /** A tag moved, and what it means now is here: its environment should be made anew. */
  superseded(workload: Workload, category: string): boolean {
    const latest = this.#latest.get(categoryKey(workload.name, category));
    const now = this.known(workload, category);
    if (!latest || latest.size === 0 || now.length < workload.artifacts.length) return false;
    const hashes = now.map((r) => r.manifestHash);
    return hashes.some((h) => !latest.has(h)) && hashes.every((h) => this.#deps.active(h));
  }

  /**
   * Environments that are there or on their way; what only others ran from may be dropped. Of a
   * category none of which is `ending`, that is also what its last one ran from.
   */
  keepOnly(live: ReadonlySet<string>, ending: ReadonlySet<string>): void {
    for (const [key, hashes] of this.#running) {
      if (ending.has(key)) continue;
      const latest = live.has(key) ? this.#latest.get(key) : undefined;
      for (const hash of hashes) {
        if (latest?.has(hash)) continue;
        this.#deps.unpin(hash, key);
        hashes.delete(hash);
      }
      if (live.has(key)) continue;
      this.#running.delete(key);
      this.#latest.delete(key);
    }
  }

  #pin(key: string, hash: string): void {
    const hashes = this.#running.get(key) ?? new Set();
    this.#running.set(key, hashes.add(hash));
    this.#deps.pin(hash, key);
  }

  /** The version a name stands for. A version never changes; a tag falls back to its last one. */
  async resolve(name: string, at: { version?: string; tag?: string }): Promise<Resolved> {
    const { lastKnown, log, connected } = this.#deps;
    const key = keyOf(name, at);
    const known = lastKnown.value.resolved[key];
    if (known && (at.version !== undefined || this.#askedLately(key) || !connected())) return known;
    const timeoutMs = connected() ? ASK_MS_MAX : ASK_AWAY_MS_MAX;
    try {
      const answer = await this.#deps.ask(name, at.version ?? null, at.tag ?? null, { timeoutMs });
      this.#remember(key, answer);
      return answer;
    } catch (cause) {
      const away =
        cause instanceof PrestageError && ["UNREACHABLE", "TIMEOUT"].includes(cause.code);
      if (!known || !away) throw cause;
      log.debug({ key }, "coordinator away, last resolution used");
      return known;
    }
  }

  /**
   * Learns what these need, so that they can be made here while the coordinator is away. What it
   * does not answer is asked again with a later call.
   */
  async prepare(wanted: Iterable<{ workload: Workload; category: string }>): Promise<void> {
    for (const { workload, category } of wanted)
      for (const artifact of workload.artifacts) {
        const name = nameFor(artifact, category);
        const key = keyOf(name, artifact);
        if (this.#deps.lastKnown.value.resolved[key] || this.#askedLately(key)) continue;
        this.#askedMs.set(key, this.#deps.clock.monotonic());
        await this.resolve(name, artifact).catch((cause: unknown) => {
          this.#deps.log.debug({ err: cause, key }, "not resolved ahead");
        });
      }
  }

  #askedLately(key: string): boolean {
    const askedMs = this.#askedMs.get(key) ?? Number.NEGATIVE_INFINITY;
    return this.#deps.clock.monotonic() - askedMs < TAG_FRESH_MS;
  }

  /** Everything this workload's category needs, as far as it was ever resolved. */
  known(workload: Workload, category: string): Resolved[] {
    const { resolved } = this.#deps.lastKnown.value;
    return workload.artifacts.flatMap((a) => {
      const found = resolved[keyOf(nameFor(a, category), a)];
      return found ? [found] : [];
    });
  }

  #remember(key: string, answer: Resolved): void {
    this.#askedMs.delete(key);
    this.#askedMs.set(key, this.#deps.clock.monotonic());
    const { resolved } = this.#deps.lastKnown.value;
    if (resolved[key]?.manifestHash === answer.manifestHash) return;
    const kept = Object.entries(resolved).slice(-(RESOLVED_MAX - 1));
    this.#deps.lastKnown.update({ resolved: { ...Object.fromEntries(kept), [key]: answer } });
  }
}

export function nameFor(artifact: Pick<WorkloadArtifact, "name">, category: string): string {
  return artifact.name.replaceAll("{category}", category);
}

function keyOf(name: string, at: { version?: string | undefined; tag?: string | undefined }) {
  return at.version === undefined ? `${name}:${at.tag}` : `${name}@${at.version}`;
}

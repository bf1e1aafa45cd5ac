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
  /** Asks the coordinator; rejects with UNREACHABLE while it is away. */
  ask(name: string, version: string | null, tag: string | null): Promise<Resolved>;
  ensure(manifestHash: string, staging: Staging): Promise<string>;
  /** While pinned by somebody, a version is not dropped to make room. */
  pin(manifestHash: string, owner: string): void;
  unpin(manifestHash: string, owner: string): void;
  markUsed(manifestHash: string): Promise<void>;
};

/** A tag is asked again when the answer is older than this. */
const TAG_FRESH_MS = 10_000;
/** Names remembered; far above what one host runs. */
const RESOLVED_MAX = 20_000;

export class Artifacts {
  readonly #deps: ArtifactsDeps;
  readonly #askedMs = new Map<string, number>();
  /** Versions that the environment of a category runs from. */
  readonly #running = new Map<string, Set<string>>();

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
    const entries = await Promise.all(
      workload.artifacts.map(async (artifact) => {
        const { manifestHash } = await this.resolve(nameFor(artifact, category), artifact);
        this.#pin(key, manifestHash);
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

  /** Environments that are there or on their way; what only others ran from may be dropped. */
  keepOnly(live: ReadonlySet<string>): void {
    for (const [key, hashes] of this.#running) {
      if (live.has(key)) continue;
      for (const hash of hashes) this.#deps.unpin(hash, key);
      this.#running.delete(key);
    }
  }

  #pin(key: string, hash: string): void {
    const hashes = this.#running.get(key) ?? new Set();
    this.#running.set(key, hashes.add(hash));
    this.#deps.pin(hash, key);
  }

  /** The version a name stands for. A version never changes; a tag falls back to its last one. */
  async resolve(name: string, at: { version?: string; tag?: string }): Promise<Resolved> {
    const { clock, lastKnown, log } = this.#deps;
    const key = at.version === undefined ? `${name}:${at.tag}` : `${name}@${at.version}`;
    const known = lastKnown.value.resolved[key];
    const age = clock.monotonic() - (this.#askedMs.get(key) ?? Number.NEGATIVE_INFINITY);
    if (known && (at.version !== undefined || age < TAG_FRESH_MS)) return known;
    try {
      const answer = await this.#deps.ask(name, at.version ?? null, at.tag ?? null);
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

  /** Everything this workload's category needs, as far as it was ever resolved. */
  known(workload: Workload, category: string): Resolved[] {
    const { resolved } = this.#deps.lastKnown.value;
    return workload.artifacts.flatMap((a) => {
      const name = nameFor(a, category);
      const found = resolved[a.version === undefined ? `${name}:${a.tag}` : `${name}@${a.version}`];
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

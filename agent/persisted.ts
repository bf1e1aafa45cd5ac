/**
 * What the agent last heard from the coordinator, on disk, so that an agent that restarts while
 * the coordinator is away routes again at once (static stability).
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import {
  ArtifactRef,
  HoldArtifact,
  KeepEnvironment,
  Lease,
  Member,
  RouteTable,
} from "../shared/domain.ts";
import { FollowOrder } from "../shared/follow.ts";
import { ModelRef } from "../shared/protocol/bodies.ts";
import { HOSTS_PUBLISH, Publisher } from "../shared/publishers.ts";
import type { Log } from "../shared/runtime/log.ts";
import { Workload } from "../shared/workload.ts";

const Persisted = z.object({
  members: z.object({
    epoch: z.number(),
    members: z.array(Member),
    publishers: z.array(Publisher).default(() => [...HOSTS_PUBLISH]),
  }),
  routes: RouteTable,
  desired: z.object({
    version: z.number(),
    hold: z.array(HoldArtifact),
    environments: z.array(KeepEnvironment),
    workloads: z.array(Workload),
    paused: z.boolean(),
    demandShare: z.record(z.string(), z.number()),
    // All of a desired version: an agent that says it has it is not sent it again.
    lease: Lease.nullable().default(null),
    throttled: z.boolean().default(false),
    model: ModelRef.nullable().default(null),
    follows: z.array(FollowOrder).optional(),
  }),
  /** `NAME:TAG` or `NAME@VERSION` → what it was when last resolved. */
  resolved: z.record(z.string(), z.object({ ref: ArtifactRef, manifestHash: z.string() })),
  /** `oci://REGISTRY/REPOSITORY:TAG` → the digest when its registry last said so. */
  imageTags: z.record(z.string(), z.string()).default({}),
});
export type Persisted = z.infer<typeof Persisted>;

const nothing = (): Persisted => ({
  members: { epoch: 0, members: [], publishers: [] },
  routes: { version: 0, entries: [] },
  desired: {
    version: 0,
    hold: [],
    environments: [],
    workloads: [],
    paused: false,
    demandShare: {},
    lease: null,
    throttled: false,
    model: null,
  },
  resolved: {},
  imageTags: {},
});

export class LastKnown {
  readonly #file: string;
  readonly #log: Log;
  readonly value: Persisted;
  #changed = false;

  constructor(dataDir: string, log: Log) {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    this.#log = log;
    this.#file = join(dataDir, "last-known.json");
    this.value = read(this.#file, log);
  }

  /** Replaces parts; `save` brings them to disk. */
  update(part: Partial<Persisted>): void {
    Object.assign(this.value, part);
    this.#changed = true;
  }

  /**
   * Writes the whole, atomically, if it changed. It can be had again, so no fsync, and a disk that
   * takes nothing now is asked again the next time.
   */
  save(): void {
    if (!this.#changed) return;
    this.#changed = false;
    const temporary = `${this.#file}.tmp`;
    try {
      writeFileSync(temporary, JSON.stringify(this.value), { mode: 0o600 });
      renameSync(temporary, this.#file);
    } catch (cause) {
      this.#changed = true;
      this.#log.warn({ cause, file: this.#file }, "last known state not written down for now");
    }
  }
}

function read(file: string, log: Log): Persisted {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return nothing();
    throw cause;
  }
  try {
    return Persisted.parse(JSON.parse(text));
  } catch (cause) {
    log.warn({ file, err: cause }, "last known state unreadable, starting without it");
    return nothing();
  }
}

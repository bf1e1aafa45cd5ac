/** What operators asked to have staged by hand, kept until it is cancelled or its time is over. */
import { z } from "zod";
import type { StageHost, StageStatus } from "../shared/api-stages.ts";
import { ArtifactRef, type HostId, type Reason } from "../shared/domain.ts";
import type { HostRecord } from "./fleet/hosts.ts";
import type { ArtifactNeed, ExplicitStage } from "./plan/input.ts";
import { onTime, Pace, priorityOf, remainingMs, STAGE_PRIORITY } from "./stages/pace.ts";

const Stage = z.object({
  id: z.string(),
  ref: ArtifactRef,
  manifestHash: z.string(),
  bytes: z.number(),
  hosts: z.array(z.string()),
  createdMs: z.number().default(0),
  createdBy: z.string().default(""),
  /** The schedule that made it. */
  schedule: z.string().nullable().default(null),
  deadlineMs: z.number().nullable().default(null),
  untilMs: z.number().nullable().default(null),
});
export type Stage = z.infer<typeof Stage>;
const Stages = z.array(Stage);

/** The oldest is withdrawn when there are more. */
const STAGES_MAX = 500;
/** What a link is taken to bring before anything is known of it, bytes per second. */
const EXPECTED_BYTES_PER_SECOND = 10e6;

export type StageKeeper = {
  state(key: string): unknown;
  setState(key: string, value: unknown): Promise<void>;
};
export type StageView = {
  record(host: HostId): HostRecord | undefined;
  /** Why the plan does not do an order now; null when it does. */
  waiting(orderId: string): Reason | null;
  now: number;
};

export class ExplicitStages {
  readonly #keeper: StageKeeper;
  readonly #pace = new Pace();
  #stages: Stage[];

  constructor(keeper: StageKeeper) {
    this.#keeper = keeper;
    this.#stages = Stages.safeParse(keeper.state("stages")).data ?? [];
  }

  /** Durable when it resolves. Takes the place of older requests for the same on its hosts. */
  async add(wish: z.input<typeof Stage>): Promise<Stage> {
    const stage = Stage.parse(wish);
    const covered = new Set(stage.hosts);
    const others = this.#stages.filter(
      (s) => s.manifestHash !== stage.manifestHash || s.hosts.some((host) => !covered.has(host)),
    );
    await this.#keep([...others, stage].slice(-STAGES_MAX));
    return stage;
  }

  get(id: string): Stage | undefined {
    return this.#stages.find((s) => s.id === id);
  }

  list(): readonly Stage[] {
    return this.#stages;
  }

  /** False when there is none such. */
  async cancel(id: string): Promise<boolean> {
    const rest = this.#stages.filter((s) => s.id !== id);
    if (rest.length === this.#stages.length) return false;
    await this.#keep(rest);
    return true;
  }

  /** Drops what was to be held until now; gives how many. */
  async expire(now: number): Promise<number> {
    const rest = this.#stages.filter((s) => s.untilMs === null || now < s.untilMs);
    const dropped = this.#stages.length - rest.length;
    if (dropped > 0) await this.#keep(rest);
    return dropped;
  }

  /** One per (stage, host), as the planner takes them. */
  explicit(): ExplicitStage[] {
    return this.#stages.flatMap((stage) =>
      stage.hosts.map((host) => ({
        id: orderId(stage, host),
        need: needOf(stage),
        host,
        deadlineMs: stage.deadlineMs,
      })),
    );
  }

  /** What a host says it has, from its reports. */
  reported(record: HostRecord | undefined, now: number): void {
    if (record) this.#pace.note(record.id, record.report?.holdings ?? [], now);
  }

  bytesPerSecond(host: HostId, manifestHash: string, now: number): number {
    return this.#pace.bytesPerSecond(host, manifestHash, now);
  }

  /** Of an explicit order: it rises as its deadline comes near. */
  priority(id: string, view: StageView): number {
    const stage = this.get(id.slice(0, id.indexOf("/")));
    if (!stage || stage.deadlineMs === null) return STAGE_PRIORITY;
    const host = this.#host(stage, id.slice(id.indexOf("/") + 1), view);
    const missing = host.state === "done" ? 0 : stage.bytes - host.bytesDone;
    const { bytesPerSecond } = host;
    const left = remainingMs([{ missing, bytesPerSecond }]);
    const expectedMs = (missing / EXPECTED_BYTES_PER_SECOND) * 1_000;
    return priorityOf(stage.deadlineMs, left, expectedMs, view.now);
  }

  status(stage: Stage, view: StageView): StageStatus {
    const hosts = stage.hosts.map((host) => this.#host(stage, host, view));
    const done = hosts.every((h) => h.state !== "pending");
    const remaining = remainingMs(
      hosts
        .filter((h) => h.state === "pending" || h.state === "failed")
        .map((h) => ({ missing: stage.bytes - h.bytesDone, bytesPerSecond: h.bytesPerSecond })),
    );
    const { id, ref, bytes, createdMs, createdBy, schedule, deadlineMs, untilMs } = stage;
    return {
      ...{ id, ref, bytes, createdMs, createdBy, schedule, deadlineMs, untilMs, done, hosts },
      bytesPerSecond: hosts.reduce((sum, h) => sum + h.bytesPerSecond, 0),
      remainingMs: remaining,
      onTime: hosts.every((h) => h.state === "done")
        ? null
        : onTime(deadlineMs, remaining, view.now),
    };
  }

  #host(stage: Stage, host: HostId, view: StageView): StageHost {
    const report = view.record(host)?.report;
    const order = report?.orders.find((o) => o.orderId === orderId(stage, host));
    const holding = report?.holdings.find((h) => h.manifestHash === stage.manifestHash);
    const held = holding?.active === true;
    const state = held ? "done" : (order?.state ?? "pending");
    return {
      host,
      state,
      code: held ? null : (order?.code ?? null),
      detail: held ? null : (order?.detail ?? null),
      bytesDone: held ? stage.bytes : (holding?.bytesHave ?? order?.bytesDone ?? 0),
      bytesPerSecond: held ? 0 : this.bytesPerSecond(host, stage.manifestHash, view.now),
      waiting: state === "pending" ? view.waiting(orderId(stage, host)) : null,
    };
  }

  async #keep(stages: Stage[]): Promise<void> {
    this.#stages = stages;
    await this.#keeper.setState("stages", stages);
  }
}

const orderId = (stage: Stage, host: HostId) => `${stage.id}/${host}`;
const needOf = ({ ref, manifestHash, bytes }: Stage): ArtifactNeed => ({
  ref,
  manifestHash,
  bytes,
});

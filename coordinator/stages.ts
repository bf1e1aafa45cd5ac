/** What operators asked to have staged by hand, kept until nobody needs to know any more. */
import { z } from "zod";
import type { StageStatus } from "../shared/api.ts";
import { ArtifactRef, type HostId } from "../shared/domain.ts";
import type { HostRecord } from "./fleet/hosts.ts";
import type { ArtifactNeed, ExplicitStage } from "./plan/input.ts";

const Stage = z.object({
  id: z.string(),
  ref: ArtifactRef,
  manifestHash: z.string(),
  bytes: z.number(),
  hosts: z.array(z.string()),
});
export type Stage = z.infer<typeof Stage>;
const Stages = z.array(Stage);

/** The oldest is withdrawn when there are more. */
const STAGES_MAX = 500;

export type StageKeeper = {
  state(key: string): unknown;
  setState(key: string, value: unknown): Promise<void>;
};

export class ExplicitStages {
  readonly #keeper: StageKeeper;
  #stages: Stage[];

  constructor(keeper: StageKeeper) {
    this.#keeper = keeper;
    this.#stages = Stages.safeParse(keeper.state("stages")).data ?? [];
  }

  /** Durable when it resolves. The same artifact asked for again replaces the older request. */
  async add(stage: Stage): Promise<void> {
    const others = this.#stages.filter((s) => s.manifestHash !== stage.manifestHash);
    this.#stages = [...others, stage].slice(-STAGES_MAX);
    await this.#keeper.setState("stages", this.#stages);
  }

  get(id: string): Stage | undefined {
    return this.#stages.find((s) => s.id === id);
  }

  /** One per (stage, host), as the planner takes them. */
  explicit(): ExplicitStage[] {
    return this.#stages.flatMap((stage) =>
      stage.hosts.map((host) => ({
        id: orderId(stage, host),
        need: needOf(stage),
        host,
        deadlineMs: null,
      })),
    );
  }

  status(stage: Stage, record: (host: HostId) => HostRecord | undefined): StageStatus {
    const hosts = stage.hosts.map((host) => {
      const report = record(host)?.report;
      const order = report?.orders.find((o) => o.orderId === orderId(stage, host));
      const holding = report?.holdings.find((h) => h.manifestHash === stage.manifestHash);
      const held = holding?.active === true;
      return {
        host,
        state: held ? ("done" as const) : (order?.state ?? ("pending" as const)),
        code: held ? null : (order?.code ?? null),
        bytesDone: held ? stage.bytes : (holding?.bytesHave ?? order?.bytesDone ?? 0),
      };
    });
    const done = hosts.every((h) => h.state !== "pending");
    return { id: stage.id, ref: stage.ref, bytes: stage.bytes, done, hosts };
  }
}

const orderId = (stage: Stage, host: HostId) => `${stage.id}/${host}`;
const needOf = ({ ref, manifestHash, bytes }: Stage): ArtifactNeed => ({
  ref,
  manifestHash,
  bytes,
});

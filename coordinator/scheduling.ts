/** Staging by hand: now, at a time, again and again; kept over restarts, on the demand clock. */
import { z } from "zod";
import {
  Schedule,
  type ScheduleRequest,
  type StageList,
  type StageRequest,
  type StageStatus,
} from "../shared/api-stages.ts";
import type { HostId } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import { type Clock, every } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import type { Counter, Gauge, Histogram, Metrics } from "../shared/runtime/metrics.ts";
import { secret } from "../shared/runtime/random.ts";
import type { Fleet } from "./fleet/hosts.ts";
import type { Planning } from "./planning.ts";
import { firstRunMs, step } from "./stages/timetable.ts";
import type { ExplicitStages, StageKeeper, StageView } from "./stages.ts";
import type { Store } from "./store/store.ts";
import type { Trust } from "./trust/trust.ts";

const TICK_MS = 1_000;
const SCHEDULES_MAX = 500;
/** A schedule that will never run again is shown so long after its last run. */
const KEEP_ENDED_MS = 7 * 86_400_000;
const STATE = "stage-schedules";

export type SchedulingDeps = {
  clock: Clock;
  demandClock: Clock;
  log: Log;
  metrics: Metrics;
  keeper: StageKeeper;
  stages: ExplicitStages;
  view(): StageView;
  /** Throws NOT_FOUND when it is not published, FORBIDDEN when its signer does not count. */
  resolve(
    name: string,
    at: { version: string } | { tag: string },
  ): { ref: { name: string; version: string }; manifestHash: string; bytes: number };
  /** Enrolled hosts. */
  hosts(): HostId[];
  /** Stages changed: plan anew. */
  changed(): void;
};

export class Scheduling {
  readonly #deps: SchedulingDeps;
  readonly #runs: Counter<"outcome">;
  readonly #missed: Counter;
  readonly #seconds: Histogram;
  readonly #hosts: Gauge<"state">;
  /** Stagings whose time was taken. */
  #finished = new Set<string>();
  readonly #startedMs: number;
  #schedules: Schedule[];

  constructor(deps: SchedulingDeps) {
    this.#deps = deps;
    this.#schedules = z.array(Schedule).safeParse(deps.keeper.state(STATE)).data ?? [];
    this.#runs = deps.metrics.counter({
      name: "prestage_schedule_runs_total",
      help: "Runs of staging schedules: in time, late (the coordinator was away), failed",
      labelNames: ["outcome"],
    });
    this.#startedMs = deps.demandClock.now();
    this.#seconds = deps.metrics.histogram({
      name: "prestage_stage_seconds",
      help: "From asking for a staging by hand until the last host has it, demand time",
      buckets: [1, 5, 20, 60, 300, 1_800, 7_200, 43_200],
    });
    this.#hosts = deps.metrics.gauge({
      name: "prestage_stage_hosts",
      help: "Hosts of stagings by hand, by how far they are",
      labelNames: ["state"],
    });
    this.#missed = deps.metrics.counter({
      name: "prestage_schedule_missed_total",
      help: "Runs of staging schedules that fell out because their time had passed",
    });
  }

  /** How many hosts are how far, and how long a staging took until the last had it. */
  #measure(now: number): void {
    const { stages, view } = this.#deps;
    const seen = view();
    const counts = { pending: 0, done: 0, failed: 0, withdrawn: 0 };
    const finished = new Set<string>();
    for (const stage of stages.list()) {
      const { hosts } = stages.status(stage, seen);
      for (const { state } of hosts) counts[state]++;
      if (!hosts.every((h) => h.state === "done")) continue;
      finished.add(stage.id);
      const isNew = stage.createdMs >= this.#startedMs && !this.#finished.has(stage.id);
      if (isNew) this.#seconds.observe((now - stage.createdMs) / 1_000);
    }
    this.#finished = finished;
    for (const [state, count] of Object.entries(counts)) this.#hosts.set({ state }, count);
  }

  async run(signal: AbortSignal): Promise<void> {
    await every(this.#deps.clock, TICK_MS, signal, () => this.tick());
  }

  /** Stages what is due, and ends what was to be held until now. */
  async tick(): Promise<void> {
    const now = this.#deps.demandClock.now();
    for (const schedule of this.#schedules) await this.#runIfDue(schedule, now);
    const ended = this.#schedules.filter(
      (s) => s.nextMs === null && now - (s.lastRunMs ?? s.lastDueMs ?? now) > KEEP_ENDED_MS,
    );
    if (ended.length > 0) await this.#keep(this.#schedules.filter((s) => !ended.includes(s)));
    if ((await this.#deps.stages.expire(now)) > 0) this.#deps.changed();
    this.#measure(now);
  }

  async stage(request: StageRequest, by: string): Promise<StageStatus> {
    const { name, ...at } = request.ref;
    const { hosts, deadline = null, holdMs = null } = request;
    const now = this.#deps.demandClock.now();
    const byMs = deadline && ("byMs" in deadline ? deadline.byMs : now + deadline.withinMs);
    const what = { name, at, hosts, by, schedule: null };
    return this.#stage(what, { deadlineMs: byMs, holdMs }, now);
  }

  async add(request: ScheduleRequest, by: string): Promise<Schedule> {
    const now = this.#deps.demandClock.now();
    const { artifact, hosts, at = null, cron = null, deadline = null, holdMs = null } = request;
    if (artifact.version !== null) this.#deps.resolve(artifact.name, { version: artifact.version });
    for (const host of hosts ?? []) this.#requireHost(host);
    const nextMs = firstRunMs({ at, cron }, now);
    if (nextMs === null)
      throw new PrestageError("USAGE", `${cron?.expression} never comes: no such date`);
    if (at !== null && at <= now)
      throw new PrestageError("USAGE", "--at: that time has passed; leave it out to stage now");
    if (deadline && "byMs" in deadline && deadline.byMs <= nextMs)
      throw new PrestageError("USAGE", "--by: the deadline is before the start");
    if (this.#schedules.length >= SCHEDULES_MAX)
      throw new PrestageError("TOO_LARGE", `there are ${SCHEDULES_MAX} schedules already`, {
        remedy: "Cancel some: `prestage stages`.",
      });
    const fresh = { lastDueMs: null, lastRunMs: null, lastStage: null, problem: null };
    const made = { createdMs: now, createdBy: by, missed: 0, lastMissedMs: null };
    const id = `schedule-${secret(6)}`;
    const schedule = { id, artifact, hosts, at, cron, deadline, holdMs, nextMs, ...fresh, ...made };
    await this.#keep([...this.#schedules, schedule]);
    return schedule;
  }

  list(): StageList {
    const { stages, view } = this.#deps;
    const seen = view();
    return {
      stages: stages.list().map((stage) => stages.status(stage, seen)),
      schedules: this.#schedules,
    };
  }

  /** A stage or a schedule; what a schedule has staged stays. Throws NOT_FOUND. */
  async cancel(id: string): Promise<StageList> {
    const rest = this.#schedules.filter((s) => s.id !== id);
    if (rest.length < this.#schedules.length) await this.#keep(rest);
    else if (!(await this.#deps.stages.cancel(id)))
      throw new PrestageError("NOT_FOUND", `no staging and no schedule has the id ${id}`, {
        remedy: "List them with `prestage stages`.",
      });
    this.#deps.changed();
    return this.list();
  }

  async #runIfDue(before: Schedule, now: number): Promise<void> {
    const { schedule, run, missed } = step(before, now);
    if (schedule === before) return;
    const { id } = schedule;
    if (missed > 0) {
      this.#missed.inc(missed);
      this.#deps.log.warn({ schedule: id, missed }, "times of a staging schedule were missed");
    }
    await this.#replace(run ? await this.#carryOut(schedule, run, now) : schedule);
  }

  async #carryOut(
    schedule: Schedule,
    run: { dueMs: number; late: boolean; deadlineMs: number | null },
    now: number,
  ): Promise<Schedule> {
    const { id, artifact, hosts, createdBy: by, holdMs } = schedule;
    const { name, version, tag } = artifact;
    const at = version === null ? { tag: tag ?? "latest" } : { version };
    try {
      const what = { name, at, hosts, by, schedule: id };
      const stage = await this.#stage(what, { deadlineMs: run.deadlineMs, holdMs }, now);
      this.#runs.inc({ outcome: run.late ? "late" : "in time" });
      this.#deps.log.info({ schedule: id, stage: stage.id, late: run.late }, "schedule has run");
      return { ...schedule, lastStage: stage.id, problem: null };
    } catch (cause) {
      if (!(cause instanceof PrestageError)) throw cause;
      this.#runs.inc({ outcome: "failed" });
      this.#deps.log.warn({ schedule: id, err: cause }, "schedule has staged nothing");
      return { ...schedule, problem: `${cause.code}: ${cause.message}` };
    }
  }

  async #stage(
    what: {
      name: string;
      at: { version: string } | { tag: string };
      hosts: HostId[] | null;
      by: string;
      schedule: string | null;
    },
    { deadlineMs, holdMs }: { deadlineMs: number | null; holdMs: number | null },
    now: number,
  ): Promise<StageStatus> {
    const { stages, resolve, view } = this.#deps;
    const { ref, manifestHash, bytes } = resolve(what.name, what.at);
    const hosts = what.hosts ?? this.#deps.hosts();
    for (const host of what.hosts ?? []) this.#requireHost(host);
    const stage = await stages.add({
      id: `stage-${secret(6)}`,
      ...{ ref, manifestHash, bytes, hosts, deadlineMs, schedule: what.schedule },
      createdMs: now,
      createdBy: what.by,
      untilMs: holdMs === null ? null : now + holdMs,
    });
    this.#deps.changed();
    return stages.status(stage, view());
  }

  #requireHost(host: HostId): void {
    const hosts = this.#deps.hosts();
    if (hosts.includes(host)) return;
    throw new PrestageError("NOT_FOUND", `no enrolled host is called ${host}`, {
      details: { hosts },
    });
  }

  #replace(schedule: Schedule): Promise<void> {
    return this.#keep(this.#schedules.map((s) => (s.id === schedule.id ? schedule : s)));
  }

  async #keep(schedules: Schedule[]): Promise<void> {
    this.#schedules = schedules;
    await this.#deps.keeper.setState(STATE, schedules);
  }
}

/** Tied to the other rooms as the coordinator has them. */
export function makeScheduling(
  deps: Pick<SchedulingDeps, "clock" | "demandClock" | "log" | "metrics" | "stages"> & {
    store: Store;
    trust: Trust;
    fleet: Fleet;
    planning: Planning;
  },
): Scheduling {
  const { store, trust, fleet, planning } = deps;
  return new Scheduling({
    ...deps,
    keeper: store.models,
    view: () => planning.stageView(),
    hosts: () => fleet.all().flatMap((h) => (h.revoked ? [] : [h.id])),
    changed: () => planning.tick(),
    resolve: (name, at) => {
      const row = store.artifacts.resolve(name, at);
      const text = "version" in at ? `${name}@${at.version}` : `${name}:${at.tag}`;
      if (!row) throw new PrestageError("NOT_FOUND", `${text} is not published`);
      trust.publishers.require(row);
      const { version, hash, bytes } = row;
      return { ref: { name, version }, manifestHash: hash, bytes };
    },
  });
}

/** What is staged where, since when, until when, why, and where it came from. Reads only. */
import type { StagedHost, StagedList } from "../shared/api-stages.ts";
import type { Order, Reason } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import type { HostRecord } from "./fleet/hosts.ts";
import { remainingMs } from "./stages/pace.ts";
import type { ExplicitStages } from "./stages.ts";
import type { ArtifactRow } from "./store/artifacts.ts";

export type StagedSources = {
  artifacts: readonly ArtifactRow[];
  hosts: readonly HostRecord[];
  orders: readonly Order[];
  stages: ExplicitStages;
  /** Why the plan does not do an order now; null when it does. */
  waiting(orderId: string): Reason | null;
  /** Versions that a category's environment needs. */
  needs(workload: string, category: string): readonly { manifestHash: string }[] | null;
  now: number;
};
type Why = StagedHost["why"][number];

/** `artifact`: NAME or NAME@VERSION, else all that is held or asked for. Throws NOT_FOUND. */
export function staged(artifact: string | undefined, sources: StagedSources): StagedList {
  const [name, version] = artifact?.split("@") ?? [];
  const rows = sources.artifacts.filter(
    (row) => name === undefined || (row.name === name && (version ?? row.version) === row.version),
  );
  if (name !== undefined && rows.length === 0)
    throw new PrestageError("NOT_FOUND", `${artifact} is not published`);
  const artifacts = rows.map((row) => ({
    ref: { name: row.name, version: row.version },
    manifestHash: row.hash,
    bytes: row.bytes,
    publisher: row.publisher,
    tags: row.tags,
    hosts: sources.hosts.flatMap((host) => stagedOn(row, host, sources) ?? []),
  }));
  return { artifacts: artifacts.filter((a) => name !== undefined || a.hosts.length > 0) };
}

function stagedOn(row: ArtifactRow, record: HostRecord, sources: StagedSources): StagedHost | null {
  const holding = record.report?.holdings.find((h) => h.manifestHash === row.hash);
  const orders = sources.orders.filter(
    (o) =>
      o.host === record.id &&
      (o.taken || o.workload === null) &&
      o.artifacts.some((a) => a.name === row.name && a.version === row.version),
  );
  if (!holding && orders.length === 0) return null;
  const told = record.report?.orders.find(
    (o) => o.state === "failed" && orders.some((order) => order.id === o.orderId),
  );
  const active = holding?.active === true;
  const bytesDone = holding?.bytesHave ?? 0;
  const bytesPerSecond = active
    ? 0
    : sources.stages.bytesPerSecond(record.id, row.hash, sources.now);
  const why = [...orders.map((o) => whyOrder(o, sources)), ...whyRoutes(row, record, sources)];
  const failed = told && !active && bytesPerSecond === 0;
  return {
    host: record.id,
    connected: record.connected,
    state: active ? "active" : failed ? "failed" : bytesPerSecond > 0 ? "fetching" : "waiting",
    code: failed ? (told.code ?? null) : null,
    detail: failed ? (told.detail ?? null) : null,
    bytesDone,
    bytesPerSecond,
    remainingMs: active ? 0 : remainingMs([{ missing: row.bytes - bytesDone, bytesPerSecond }]),
    waiting: active || bytesPerSecond > 0 ? null : waitingOf(orders, sources),
    sinceMs: active ? (holding.sinceMs ?? null) : null,
    untilMs: untilOf(orders, sources),
    why: why.length > 0 ? why : [{ kind: "kept", order: null, detail: KEPT }],
    sources: [...(holding?.sources ?? [])],
  };
}

const KEPT = "nothing asks for it any more: dropped when room is needed";

function whyOrder(order: Order, { stages }: StagedSources): Why {
  const { id, workload, category, kind, reason } = order;
  if (workload !== null) {
    const what = kind === "warm" ? "a warm environment of" : "data of";
    return { kind: "plan", order: id, detail: `${what} ${workload}/${category} (${reason})` };
  }
  const stage = stages.get(stageOf(id));
  if (stage?.schedule) return { kind: "schedule", order: id, detail: stage.schedule };
  const by = stage?.createdBy ?? "";
  return { kind: "explicit", order: id, detail: by === "" ? "asked for by hand" : `by ${by}` };
}

function whyRoutes(row: ArtifactRow, record: HostRecord, { needs }: StagedSources): Why[] {
  const unplanned = (record.report?.environments ?? []).filter((e) => !e.planned);
  return unplanned
    .filter((e) => needs(e.workload, e.category)?.some((n) => n.manifestHash === row.hash))
    .map((e) => ({
      kind: "route" as const,
      order: null,
      detail: `an environment of ${e.workload}/${e.category} that a request made`,
    }));
}

/** The latest end of what asks for it; null when something asks without an end, or nothing. */
function untilOf(orders: readonly Order[], { stages }: StagedSources): number | null {
  const ends = orders.map((o) =>
    o.workload === null ? (stages.get(stageOf(o.id))?.untilMs ?? null) : null,
  );
  const known = ends.filter((end) => end !== null);
  return known.length > 0 && known.length === ends.length ? Math.max(...known) : null;
}

function waitingOf(orders: readonly Order[], { waiting }: StagedSources): Reason | null {
  const reasons = orders.map((o) => waiting(o.id));
  return reasons.includes(null) ? null : (reasons[0] ?? null);
}

const stageOf = (orderId: string) => orderId.slice(0, Math.max(0, orderId.indexOf("/")));

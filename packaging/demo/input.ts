/** What the demo plays: the generator's rows or a recorded trace, cut, chosen and scheduled. */
import type { HistoryRow } from "../../shared/api.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { type DemoWorkload, planArtifacts } from "./artifacts.ts";
import { generateRows } from "./generator.ts";
import { homeHost, type Schedule, schedule } from "./schedule.ts";
import { MINUTE_MS, type Row, type Selection, select, TraceCollector } from "./selection.ts";

export type DemoSettings = {
  hosts: number;
  seed: string;
  speed: number;
  /** Demand minutes that are played and measured. */
  playMinutes: number;
  trace: string | null;
  workloads: number;
  /** Null: all artifacts once in `UPLINK_MINUTES`. */
  uplinkBytesPerSecond: number | null;
  /** Disk of a host as a share of all artifact bytes. */
  diskShare: number;
  keep: boolean;
};

export type DemoInput = {
  selection: Selection;
  schedule: Schedule;
  workloads: DemoWorkload[];
  history: HistoryRow[];
};

export type OpenTrace = (
  path: string,
  signal: AbortSignal,
) => Promise<AsyncIterable<Row> & { readonly report: { format: string | null; badLines: number } }>;

/**
 * A reactive system in use has environments of the last ten minutes warm, and on its disks what it
 * used lately; both runs start with neither and get these minutes to come to it.
 */
export const RUN_IN_MINUTES = 20;
/**
 * Well within what two cores with four agents and their environments answer, so that latencies are
 * of cold starts and not of queues; and no one burst of one function becomes the whole result.
 */
const RATE_PER_SECOND = 100;

export async function prepareInput(
  settings: DemoSettings,
  random: Random,
  openTrace: OpenTrace,
  signal: AbortSignal,
): Promise<DemoInput> {
  const collector = new TraceCollector();
  let azure = false;
  if (settings.trace === null) {
    for (const row of generateRows(random.fork("generator"), settings.workloads))
      collector.add(row);
  } else {
    const trace = await openTrace(settings.trace, signal);
    for await (const row of trace) collector.add(row);
    azure = trace.report.format === "azure";
  }
  const collected = collector.finish();
  if (collected.series.length === 0)
    throw new PrestageError("USAGE", `${settings.trace}: no line could be read as a request`);
  const selection = select(
    collected,
    {
      playMinutes: settings.playMinutes,
      runInMinutes: RUN_IN_MINUTES,
      count: settings.trace === null ? Number.POSITIVE_INFINITY : settings.workloads,
      leaveConstant: azure,
    },
    random.fork("selection"),
  );
  const { series, window } = selection;
  const pace = { hosts: settings.hosts, speed: settings.speed, ratePerSecond: RATE_PER_SECOND };
  return {
    selection,
    schedule: schedule(series, window, pace, random),
    workloads: planArtifacts(series, random),
    history: historyRows(selection, settings.hosts, random),
  };
}

/** What was before the run-in, per minute and origin; a row without origin gets its home host. */
export function historyRows(
  { series, window }: Selection,
  hosts: number,
  random: Random,
): HistoryRow[] {
  const rows: HistoryRow[] = [];
  for (const of of series) {
    const home = `host-${homeHost(of, hosts, random) + 1}`;
    const minutes = new Map<string, HistoryRow>();
    for (const row of of.rows) {
      if (row.timestampMs >= window.runInMs) continue;
      const timestampMs = Math.floor(row.timestampMs / MINUTE_MS) * MINUTE_MS;
      const key = `${timestampMs}/${row.origin}`;
      const known = minutes.get(key);
      if (known) known.count += row.count;
      else minutes.set(key, { ...row, timestampMs, origin: row.origin || home });
    }
    rows.push(...minutes.values());
  }
  return rows.sort((a, b) => a.timestampMs - b.timestampMs);
}

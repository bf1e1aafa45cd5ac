/** `prestage stage`: put an artifact version on hosts now or at a time, and watch it arrive. */
import type { Command } from "commander";
import type { Status } from "../../shared/api.ts";
import type { Deadline, Schedule, StageStatus } from "../../shared/api-stages.ts";
import { parseTime, TimeZone } from "../../shared/calendar-time.ts";
import type { Call, Shell } from "../../shared/cli/command.ts";
import { parseDuration } from "../../shared/cli/duration.ts";
import { parseHosts, parseWish, refText } from "../../shared/cli/refs.ts";
import { bytes, duration, percent, table, time } from "../../shared/cli/text.ts";
import type { Reason } from "../../shared/domain.ts";
import { ERRORS, type ErrorCode, PrestageError } from "../../shared/errors.ts";
import { type Api, addApiCommand } from "./session.ts";
import { failureDetails } from "./staged.ts";
import { scheduleText } from "./stages.ts";

const POLL_MS = 250;

type Options = {
  hosts: string;
  wait?: boolean;
  timeout: string;
  at?: string;
  cron?: string;
  tz?: string;
  by?: string;
  for?: string;
};

export function addStage(program: Command, shell: Shell, group: string): void {
  addApiCommand<Options>(program, shell, {
    usage: "stage <artifact>",
    group,
    summary: "explicit pre-staging (preheat) of a version on hosts",
    description:
      "Orders hosts to hold NAME@VERSION, or what NAME:TAG means then, whatever is forecast: now, " +
      "at a time (--at) or again and again (--cron). The transfer runs in the background within " +
      "the staging budget; with --by its priority rises as the deadline comes near. --wait stays " +
      "until every host has it. See `prestage stages`.",
    examples: [
      ["prestage stage llama:latest --hosts all --wait", "on every host, with a progress bar"],
      ["prestage stage tiles@2026-11 --hosts pop1,pop2 --by 06:00", "ready before six"],
      [
        "prestage stage tiles:latest --hosts all --cron '0 3 * * 1-5' --tz Europe/Berlin --by 2h",
        "on weekdays at three, within two hours",
      ],
    ],
    setup: (command) => {
      command
        .requiredOption("--hosts <names>", "all, or names with commas")
        .option("--at <time>", "not now but then: 2026-11-28T03:00, 03:00, or 2h from now")
        .option("--cron <expression>", "at these times: minute hour day month weekday")
        .option("--tz <zone>", "time zone of --at, --by and --cron (default: this machine's)")
        .option("--by <time>", "deadline; with --cron a duration from each start")
        .option("--for <time>", "hold it only so long (default: until it is cancelled)")
        .option("--wait", "stay until every host has it or failed")
        .option(
          "--timeout <time>",
          "with --wait: give up after this long (the order stays)",
          "10m",
        );
    },
    run: async (call, api) => {
      if (call.options.at !== undefined || call.options.cron !== undefined)
        await addSchedule(call, api);
      else await stageNow(call, api);
    },
  });
}

async function stageNow(call: Call<Options>, api: Api): Promise<void> {
  const { hosts, timeout, wait } = call.options;
  const { name, version, tag } = parseWish(call.arg(0));
  const timeoutMs = parseDuration(timeout, "--timeout");
  const first = await api.post<StageStatus>("stage", {
    ref: version === null ? { name, tag } : { name, version },
    hosts: parseHosts(hosts),
    deadline: await deadline(call, api, null),
    holdMs: hold(call.options),
  });
  const last = wait ? await waitFor(call, api, first, timeoutMs) : first;
  call.show(last, () => stageText(last));
  if (wait) throwUnfinished(last);
}

async function addSchedule(call: Call<Options>, api: Api): Promise<void> {
  const { at, cron, wait, hosts } = call.options;
  if (at !== undefined && cron !== undefined)
    throw new PrestageError("USAGE", "--at or --cron, not both");
  if (wait) throw new PrestageError("USAGE", "--wait goes with staging now; see `prestage stages`");
  const { name, version, tag } = parseWish(call.arg(0));
  const timeZone = zone(call.options);
  const atMs = at === undefined ? null : parseTime(at, "--at", timeZone, await demandNow(api));
  const schedule = await api.post<Schedule>("schedules", {
    artifact: { name, version, tag },
    hosts: parseHosts(hosts),
    at: atMs,
    cron: cron === undefined ? null : { expression: cron, timeZone },
    deadline: await deadline(call, api, atMs),
    holdMs: hold(call.options),
  });
  call.show(schedule, () => scheduleText(schedule));
}

function zone({ tz }: Options): string {
  const name = tz ?? new Intl.DateTimeFormat().resolvedOptions().timeZone;
  const checked = TimeZone.safeParse(name);
  if (checked.success) return checked.data;
  throw new PrestageError("USAGE", `--tz ${name}: an IANA time zone, such as Europe/Berlin or UTC`);
}

const demandNow = async (api: Api) => (await api.get<Status>("status")).demandNowMs;
const hold = (o: Options) => (o.for === undefined ? null : parseDuration(o.for, "--for"));

/** A duration counts from the start, which a schedule has yet to come to. */
async function deadline(
  call: Call<Options>,
  api: Api,
  startMs: number | null,
): Promise<Deadline | null> {
  const { by, cron } = call.options;
  if (by === undefined) return null;
  const scheduled = cron !== undefined || startMs !== null;
  if (/^[\d.]+(ms|s|m|h|d)$/.test(by)) return { withinMs: parseDuration(by, "--by") };
  if (cron !== undefined)
    throw new PrestageError("USAGE", `--by ${by}: with --cron a duration from each start, e.g. 2h`);
  const nowMs = scheduled && startMs !== null ? startMs : await demandNow(api);
  return { byMs: parseTime(by, "--by", zone(call.options), nowMs) };
}

async function waitFor(
  call: Call<Options>,
  api: Api,
  first: StageStatus,
  timeoutMs: number,
): Promise<StageStatus> {
  const untilMs = call.clock.monotonic() + timeoutMs;
  const bar = call.progress(`staging ${refText(first.ref)}`);
  let told = "";
  try {
    for (let status = first; ; ) {
      const { done, total } = stageProgress(status);
      bar.update(done, total, progressNote(status));
      const why = waitingText(status);
      if (why !== told && why !== "" && !call.terminal.errIsTty) call.terminal.err(`${why}\n`);
      told = why;
      if (status.done || call.clock.monotonic() >= untilMs) return status;
      await call.clock.sleep(POLL_MS, { signal: call.signal });
      status = await api.get<StageStatus>(`stage/${encodeURIComponent(status.id)}`);
    }
  } finally {
    bar.end();
  }
}

export function stageProgress({ bytes: size, hosts }: StageStatus): {
  done: number;
  total: number;
  ready: number;
} {
  const doneOf = (h: StageStatus["hosts"][number]) => (h.state === "done" ? size : h.bytesDone);
  return {
    done: hosts.reduce((sum, h) => sum + Math.min(size, doneOf(h)), 0),
    total: size * hosts.length,
    ready: hosts.filter((h) => h.state === "done").length,
  };
}

/** Beside the bar: how much, how fast, how long yet, or why nothing moves. */
export function progressNote(status: StageStatus): string {
  const { done, total, ready } = stageProgress(status);
  const moved = `${bytes(done)} of ${bytes(total)}, ${ready}/${status.hosts.length} hosts`;
  const { bytesPerSecond, remainingMs } = status;
  const rate = bytesPerSecond > 0 ? `, ${bytes(bytesPerSecond)}/s` : "";
  const left = remainingMs !== null && remainingMs > 0 ? `, ${duration(remainingMs)} left` : "";
  const late = status.onTime === false ? ", too slow for its deadline" : "";
  const why = bytesPerSecond > 0 ? "" : waitingText(status);
  return `${moved}${rate}${left}${late}${why === "" ? "" : `, ${why}`}`;
}

const WAITING: Partial<Record<Reason, string>> = {
  paused: "paused (prestage resume)",
  throttled: "throttled: the host or its site is at peak",
  "host-peak":
    "the host itself is at its peak: goes on below 90 % of peakCpu in its agent.yaml (raise it?)",
  "host-request": "a request's data comes first: goes on when it is there",
  "no-budget": "no budget: other orders use it up, or the disk is full",
  "host-gone": "not connected",
};

/** Why nothing moves where nothing does; empty when nothing stands in the way. */
export function waitingText({ hosts }: StageStatus): string {
  const waiting = hosts.filter((h) => h.state === "pending" && h.waiting !== null);
  const byReason = Map.groupBy(waiting, (h) => h.waiting ?? "explicit");
  return [...byReason]
    .map(([reason, at]) => {
      const names = at.slice(0, 3).map((h) => h.host);
      const more = at.length > 3 ? ` and ${at.length - 3} more` : "";
      const where = at.length === hosts.length ? "" : ` on ${names.join(", ")}${more}`;
      return `${WAITING[reason] ?? reason}${where}`;
    })
    .join("; ");
}

export function stageText(status: StageStatus): string {
  const hosts = table(
    status.hosts,
    [
      { title: "HOST", value: (h) => h.host },
      { title: "STATE", value: (h) => h.waiting ?? h.state },
      {
        title: "HAS",
        value: (h) =>
          h.state === "done" || status.bytes === 0
            ? "100.0 %"
            : percent(h.bytesDone / status.bytes),
      },
      { title: "BYTES", value: () => bytes(status.bytes), right: true },
      {
        title: "RATE",
        value: (h) => (h.bytesPerSecond > 0 ? `${bytes(h.bytesPerSecond)}/s` : null),
        right: true,
      },
      { title: "CODE", value: (h) => h.code },
    ],
    "no hosts are enrolled: `prestage join-token` makes a token for the first",
  );
  return `${hosts}${failureDetails(status.hosts)}${deadlineText(status)}`;
}

function deadlineText({ deadlineMs, onTime }: StageStatus): string {
  if (deadlineMs === null) return "";
  const will = { true: "will be met", false: "will not be met at the present rate", null: "" };
  const verdict = will[`${onTime}`];
  return `by ${time(deadlineMs)}${verdict === "" ? "" : `: ${verdict}`}\n`;
}

/** Throws when a waited-for order did not reach every host: the code of the first that failed. */
function throwUnfinished(status: StageStatus): void {
  const failed = status.hosts.filter((h) => h.state === "failed" || h.state === "withdrawn");
  const names = failed.map((h) => h.host).join(", ");
  const code = failed.find((h) => h.code !== null)?.code;
  if (failed.length > 0)
    throw new PrestageError(
      code && code in ERRORS ? (code as ErrorCode) : "UNAVAILABLE",
      `${refText(status.ref)} did not reach ${names}`,
    );
  if (status.done) return;
  const paused = status.hosts.some((h) => h.waiting === "paused");
  throw new PrestageError(
    "TIMEOUT",
    `${refText(status.ref)} is still on its way: ${progressNote(status)}`,
    paused ? { remedy: "Pre-work is paused: `prestage resume`." } : {},
  );
}

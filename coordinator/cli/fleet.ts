/** `prestage status`, `hosts`, `top`, `doctor`: what the fleet is doing. */
import type { Command } from "commander";
import type { DoctorView, HostList, HostView, Revoked, Status } from "../../shared/api.ts";
import type { StagedList } from "../../shared/api-stages.ts";
import type { Call, Shell } from "../../shared/cli/command.ts";
import { parseDuration } from "../../shared/cli/duration.ts";
import { bytes, duration, pairs, percent, table, time } from "../../shared/cli/text.ts";
import { type Api, addApiCommand } from "./session.ts";
import { stagedDetails, stagedText } from "./staged.ts";

export function addFleet(program: Command, shell: Shell, group: string): void {
  addApiCommand(program, shell, {
    usage: "status [artifact]",
    group,
    summary: "the fleet at a glance, or what is staged where",
    description:
      "The fleet at a glance and what is staged. With NAME or NAME@VERSION: on which hosts it is, " +
      "since when, until when and why, from which peers or origin its bytes came, and while it is " +
      "under way at what rate and for how long yet.",
    examples: [["prestage status llama@8b-v3", "where it is, and who asked for it"]],
    run: async (call, api) => {
      const status = await api.get<Status>("status");
      const artifact = call.arg(0) === "" ? undefined : call.arg(0);
      const list = await api.get<StagedList>("staged", { artifact });
      if (artifact !== undefined) call.show(list, () => stagedDetails(list, status.demandNowMs));
      else call.show({ ...status, ...list }, () => `${statusText(status)}\n${stagedText(list)}`);
    },
  });
  addHosts(program, shell, group);
  addTop(program, shell, group);
  addDoctor(program, shell, group);
}

export function statusText(s: Status): string {
  const { hit, late, miss, wasted } = s.outcomes;
  const served = hit + late + miss;
  const environments = Object.entries(s.environments).filter(([, count]) => count > 0);
  return pairs([
    ["fleet", `${s.fleet}, ${s.version}, up ${duration(s.nowMs - s.startedMs)}`],
    ["pre-work", s.paused ? "paused (prestage resume)" : "on"],
    ["hosts", `${s.hosts.connected} of ${s.hosts.enrolled} connected`],
    [
      "workloads",
      `${s.workloads.act} act, ${s.workloads.advise} advise, ${s.workloads.observe} observe`,
    ],
    [
      "environments",
      environments.map(([state, count]) => `${count} ${state}`).join(", ") || "none",
    ],
    ["plan", s.plan ? `${s.plan.orders} orders, version ${s.plan.version}` : "none yet"],
    ["requests", `${served}: ${hit} hit, ${late} late, ${miss} miss`],
    ["cold share", served > 0 ? percent((late + miss) / served) : null],
    ["moved", `${bytes(s.bytes.peer)} from peers, ${bytes(s.bytes.origin)} from origins`],
    ["wasted", `${bytes(s.bytes.wasted)} in ${wasted} unused preparations`],
    [
      "forecasts",
      s.calibration && s.calibration.samples > 0
        ? `90 % intervals held ${percent(s.calibration.coverage90)} of ${s.calibration.samples}`
        : "not scored yet",
    ],
    ...(s.signals.sources > 0 ? [["signals", signalsLine(s.signals)] as const] : []),
    ...(s.demandNowMs === s.nowMs ? [] : [["replay time", time(s.demandNowMs)] as const]),
  ]);
}

function signalsLine({ sources, failing, events }: Status["signals"]): string {
  const bad = failing > 0 ? `, ${failing} failing (prestage signals)` : "";
  return `${events} events of ${sources} sources${bad}`;
}

function addHosts(program: Command, shell: Shell, group: string): void {
  const hosts = program.command("hosts").summary("hosts of the fleet, and how to revoke one");
  hosts.helpGroup(group).description("Hosts of the fleet. Without a subcommand: list.");
  addApiCommand(hosts, shell, {
    usage: "list",
    isDefault: true,
    summary: "every enrolled host with what it holds and runs",
    run: async (call, api) => {
      const { status, hosts } = await look(api);
      call.show({ hosts }, () => hostsText(hosts, status.demandNowMs));
    },
  });
  addApiCommand(hosts, shell, {
    usage: "revoke <host>",
    summary: "shut a host out of coordinator and mesh",
    description:
      "Shuts a host out: its session and its connections to other hosts are closed, its " +
      "certificate is refused from now on. To let it back in, join it again with a new token.",
    examples: [["prestage hosts revoke pop7", "within seconds nobody speaks with pop7 any more"]],
    run: async (call, api) => {
      const host = call.arg(0);
      const revoked = await api.post<Revoked>(`hosts/${encodeURIComponent(host)}/revoke`, {});
      call.show(revoked, () => `${revoked.host} is revoked (membership epoch ${revoked.epoch})\n`);
    },
  });
}

/** `nowMs` is demand time, as everything the API says. */
export function hostsText(hosts: readonly HostView[], nowMs: number): string {
  return table(
    hosts,
    [
      { title: "HOST", value: (h) => h.host },
      { title: "SITE", value: (h) => h.site },
      { title: "STATE", value: hostState },
      {
        title: "SEEN",
        value: (h) => h.lastSeenMs && `${duration(Math.max(0, nowMs - h.lastSeenMs))} ago`,
        right: true,
      },
      { title: "CPU", value: (h) => h.sample && percent(h.sample.cpuUsed), right: true },
      {
        title: "MEMORY FREE",
        value: (h) => h.sample && bytes(h.sample.memoryFreeBytes),
        right: true,
      },
      { title: "DISK FREE", value: (h) => h.sample && bytes(h.sample.diskFreeBytes), right: true },
      { title: "REQ/S", value: (h) => h.sample?.requestsPerSecond.toFixed(1), right: true },
      { title: "READY", value: (h) => h.environments.filter(isReady).length },
      { title: "HOLDS", value: (h) => h.holdings.filter((held) => held.active).length },
      {
        title: "BYTES",
        value: (h) => bytes(sum(h.holdings.map((held) => held.bytesHave))),
        right: true,
      },
      { title: "LIES", value: (h) => sum(h.accusedBy.map((by) => by.lies)) },
      { title: "ROUTER", value: (h) => h.routerUrl },
    ],
    "no hosts are enrolled: `prestage join-token` makes a token for the first",
  );
}

const isReady = (e: HostView["environments"][number]) =>
  e.state === "warm" || e.state === "serving";
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

function hostState(host: HostView): string {
  if (host.revoked) return "revoked";
  if (!host.connected) return "away";
  return host.throttled ? "throttled" : "connected";
}

function addTop(program: Command, shell: Shell, group: string): void {
  addApiCommand<{ interval: string; once?: boolean }>(program, shell, {
    usage: "top",
    group,
    summary: "status, hosts and environments, refreshed until Ctrl-C",
    description:
      "Status, hosts and environments, refreshed on a terminal until Ctrl-C. Without a terminal, " +
      "or with --once or --json, it prints once.",
    setup: (command) => {
      command
        .option("--interval <time>", "between two looks", "1s")
        .option("--once", "print once and end");
    },
    run: async (call, api) => {
      const periodMs = Math.max(100, parseDuration(call.options.interval, "--interval"));
      if (call.json || call.options.once || !call.terminal.outIsTty) {
        const view = await look(api);
        call.show(view, () => topText(view.status, view.hosts));
        return;
      }
      await refresh(call, api, periodMs);
    },
  });
}

async function look(api: Api): Promise<{ status: Status; hosts: HostView[] }> {
  const [status, list] = await Promise.all([api.get<Status>("status"), api.get<HostList>("hosts")]);
  return { status, hosts: list.hosts };
}

async function refresh(call: Call<object>, api: Api, periodMs: number): Promise<void> {
  const homeAndClear = "\x1b[H\x1b[J";
  while (!call.signal.aborted) {
    const view = await look(api);
    call.terminal.out(homeAndClear + topText(view.status, view.hosts));
    await call.clock.sleep(periodMs, { signal: call.signal }).catch((cause: unknown) => {
      if (!call.signal.aborted) throw cause;
    });
  }
}

export function topText(status: Status, hosts: readonly HostView[]): string {
  const rows = hosts.flatMap((h) => h.environments.map((e) => ({ host: h.host, ...e })));
  const environments = table(
    rows.toSorted((a, b) => (b.lastUsedMs ?? 0) - (a.lastUsedMs ?? 0)).slice(0, 40),
    [
      { title: "WORKLOAD", value: (e) => e.workload },
      { title: "CATEGORY", value: (e) => e.category },
      { title: "HOST", value: (e) => e.host },
      { title: "STATE", value: (e) => e.state },
      {
        title: "FOR",
        value: (e) => duration(Math.max(0, status.demandNowMs - e.sinceMs)),
        right: true,
      },
      { title: "MADE BY", value: (e) => (e.planned ? "plan" : "request") },
      { title: "MEMORY", value: (e) => bytes(e.memoryBytes), right: true },
      { title: "RESTARTS", value: (e) => e.restarts },
    ],
    "no environments",
  );
  return `${statusText(status)}\n${hostsText(hosts, status.demandNowMs)}\n${environments}`;
}

function addDoctor(program: Command, shell: Shell, group: string): void {
  addApiCommand(program, shell, {
    usage: "doctor",
    group,
    summary: "what is wrong, and the remedy",
    description:
      "Checks the fleet and says what is wrong and what to do. Exit code 1 when a check fails.",
    run: async (call, api) => {
      const view = await api.get<DoctorView>("doctor");
      call.show(view, () => doctorText(view));
      if (view.checks.some((check) => check.status === "fail")) call.terminal.setExit(1);
    },
  });
}

export function doctorText({ checks }: DoctorView): string {
  const signs = { ok: "ok  ", warn: "warn", fail: "FAIL" };
  return checks
    .map(({ name, status, detail, remedy }) => {
      const line = `${signs[status]}  ${name}: ${detail}\n`;
      return remedy === "" ? line : `${line}      → ${remedy}\n`;
    })
    .join("");
}

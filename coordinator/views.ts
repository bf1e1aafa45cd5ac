/** What people see of the coordinator: status, hosts, why, doctor. Reads only. */

import type { DoctorView, HostView, Status, WhyView } from "../shared/api.ts";
import type { FollowList } from "../shared/api-follows.ts";
import type { StageList } from "../shared/api-stages.ts";
import type { Order } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import type { Report } from "../shared/protocol/bodies.ts";
import type { HostRecord } from "./fleet/hosts.ts";
import type { Announced } from "./signals/event-effects.ts";
import type { LedgerRow } from "./store/ledger.ts";

const DAY_MS = 86_400_000;

type Check = DoctorView["checks"][number];

/** Of all connected hosts: how many environments are in which state. */
export function environmentCounts(hosts: readonly HostRecord[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const host of hosts)
    for (const { state } of host.connected ? (host.report?.environments ?? []) : [])
      counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

/** Bytes moved and memory-time held by all hosts since their agents started. */
export function totals(reports: Iterable<Report>): Pick<Status, "bytes" | "memoryByteMs"> {
  const bytes = { peer: 0, origin: 0, foreground: 0, wasted: 0 };
  let memoryByteMs = 0;
  for (const report of reports) {
    bytes.peer += report.staged.peerBytes;
    bytes.origin += report.staged.originBytes;
    bytes.foreground += report.staged.foregroundBytes;
    bytes.wasted += report.staged.wastedBytes;
    memoryByteMs += report.memoryTime.planned + report.memoryTime.unplanned;
  }
  return { bytes, memoryByteMs };
}

export function hostView(
  record: HostRecord,
  extra: Pick<
    HostView,
    "peerId" | "routerUrl" | "throttled" | "certificateExpiresMs" | "accusedBy"
  >,
): HostView {
  const { report } = record;
  return {
    host: record.id,
    site: record.site,
    connected: record.connected,
    revoked: record.revoked,
    enrolledMs: record.enrolledMs,
    lastSeenMs: record.heardMs,
    sample: report?.sample ?? null,
    environments: report?.environments ?? [],
    holdings: (report?.holdings ?? []).map(({ ref, bytes, bytesHave, active }) => ({
      ref,
      bytes,
      bytesHave,
      active,
    })),
    scores: report?.scores ?? [],
    ...extra,
  };
}

export type WhySources = {
  orders: readonly Order[];
  ledger(filter: { workload?: string; category?: string; host?: string }): LedgerRow[];
  isWorkload(name: string): boolean;
  isHost(name: string): boolean;
  isArtifact(name: string, version: string): boolean;
  /** Hosts that serve a category now. */
  serving(workload: string, category: string): readonly string[];
  /** Events ahead that may concern a category. */
  announced(workload: string, category: string): readonly Announced[];
};

/** Why TARGET was staged, warmed, routed, or not. Throws NOT_FOUND for what nobody knows. */
export function why(target: string, sources: WhySources): WhyView {
  const [first = "", second] = target.split("/");
  const [name = "", version] = target.split("@");
  if (version !== undefined && sources.isArtifact(name, version))
    return explain(target, "artifact", sources, (o) =>
      o.artifacts.some((a) => a.name === name && a.version === version),
    );
  if (sources.isWorkload(first)) {
    const kind = second === undefined ? "workload" : "category";
    return explain(
      target,
      kind,
      sources,
      (o) => o.workload === first && (second === undefined || o.category === second),
      { workload: first, ...(second === undefined ? {} : { category: second }) },
    );
  }
  if (sources.isHost(target))
    return explain(target, "host", sources, (o) => o.host === target, { host: target });
  throw new PrestageError(
    "NOT_FOUND",
    `nothing is called ${target}: give a workload, workload/category, host or artifact@version`,
  );
}

function explain(
  target: string,
  kind: WhyView["kind"],
  sources: WhySources,
  concerns: (order: Order) => boolean,
  filter: { workload?: string; category?: string; host?: string } = {},
): WhyView {
  const orders = sources.orders
    .filter(concerns)
    .toSorted((a, b) => b.expectedGain - a.expectedGain);
  const ledger = kind === "artifact" ? [] : sources.ledger(filter);
  const taken = orders.filter((o) => o.taken);
  const summary = taken.map(sentence);
  const [best] = orders.filter((o) => !o.taken);
  if (taken.length === 0 && best) summary.push(sentence(best));
  if (orders.length === 0)
    summary.push("The present plan has no candidate for it: no demand was seen or forecast.");
  if (filter.workload !== undefined && filter.category !== undefined) {
    summary.push(...sources.announced(filter.workload, filter.category).map(announcement));
    const hosts = sources.serving(filter.workload, filter.category);
    summary.push(
      hosts.length > 0
        ? `Requests go to ${hosts.join(", ")}: its shadow request passed there.`
        : "No environment has a passing verdict: the next request makes one (a miss).",
    );
  }
  const closed = ledger.filter((row) => row.outcome !== null);
  const hits = closed.filter((row) => row.outcome === "hit").length;
  if (closed.length > 0)
    summary.push(`Of the last ${closed.length} decisions with an outcome, ${hits} were hits.`);
  return { target, kind, summary, orders, ledger };
}

function announcement({ signal, startMs, factor }: Announced): string {
  const at = `${new Date(startMs).toISOString().slice(0, 16).replace("T", " ")} UTC`;
  const does =
    factor === 1
      ? "nothing that was learned so far"
      : `demand times ${factor.toFixed(factor < 10 ? 2 : 0)}`;
  return `Announced for ${at}: ${signal}, expected to bring ${does}.`;
}

const REASONS: Record<Order["reason"], string> = {
  forecast: "demand is likely enough within the lead time",
  explicit: "an operator asked for it",
  keep: "it is loaded and likelier to be used than worth dropping",
  unlikely: "the probability is under the threshold",
  "not-worth": "it would cost more than it gains",
  "no-budget": "better candidates used up the budget",
  mode: "the workload's mode does not act",
  paused: "pre-work is paused",
  throttled: "the host or its site is at peak",
  "host-peak": "the host itself is at its peak (peakCpu in its agent.yaml)",
  "host-request": "what a request on the host waits for is transferred first",
  "host-gone": "the host is not connected",
  "lower-score": "other hosts have a better affinity",
  "too-late": "its deadline has passed",
};

/** One candidate in a sentence, with the figures behind it. */
export function sentence(order: Order): string {
  const what = order.kind === "stage" ? "Staging" : "A warm environment";
  const whose = order.workload === null ? "" : ` for ${order.workload}/${order.category}`;
  const verb = order.taken ? "is ordered" : "is not ordered";
  const percent = (p: number) => `${(100 * p).toFixed(p < 0.1 ? 1 : 0)} %`;
  return (
    `${what}${whose} on ${order.host} ${verb}: ${REASONS[order.reason]} ` +
    `(probability ${percent(order.probability)}, threshold ${percent(order.threshold)}, ` +
    `expected gain ${order.expectedGain.toFixed(3)}, ` +
    `staging costs ${order.stageCost.toFixed(3)}, holding ${order.holdCost.toFixed(3)}).`
  );
}

/** What is wrong in the fleet, and the remedy. */
export function hostChecks(hosts: readonly HostRecord[], throttled: ReadonlySet<string>): Check[] {
  const live = hosts.filter((h) => !h.revoked);
  if (live.length === 0)
    return [
      {
        name: "hosts",
        status: "fail",
        detail: "no host is enrolled",
        remedy: "Make a token with `prestage join-token`, then `prestage join` on each host.",
      },
    ];
  const away = live.filter((h) => !h.connected).map((h) => h.id);
  const failed = live.flatMap((h) =>
    (h.report?.orders ?? []).filter((o) => o.state === "failed").map((o) => `${h.id}: ${o.code}`),
  );
  const peak = live.filter((h) => throttled.has(h.id)).map((h) => h.id);
  return [
    check("hosts connected", away, `all ${live.length} hosts`, {
      status: away.length === live.length ? "fail" : "warn",
      remedy: "Start the agent there; see its log and the network path to the coordinator.",
    }),
    check("orders", failed, "none failed", {
      status: "warn",
      remedy: "See `prestage why` for the workload, and the environment's output in the agent log.",
    }),
    check("load", peak, "no host at peak", {
      status: "warn",
      remedy: "Staging waits until the load falls; raise qos.peakCpu if that is too careful.",
    }),
  ];
}

/** Sources of announced events. What was last good stays in use while one fails. */
export function signalCheck(
  failing: readonly { name: string; message: string; okMs: number | null }[],
  { sources, events }: { sources: number; events: number },
  nowMs: number,
): Check {
  const bad = failing.map(({ name, message, okMs }) => {
    const age = okMs === null ? "never read" : `last good ${hours(nowMs - okMs)} ago`;
    return `${name}: ${message} (${age})`;
  });
  return check("signals", bad, `${sources} sources, ${events} events known`, {
    status: "warn",
    remedy: "See `prestage signals`; check the source's address, secret and network.",
  });
}

/** By liar: who says so. */
export function accusations(
  reports: Iterable<readonly [string, Report]>,
): Map<string, HostView["accusedBy"]> {
  const accused = new Map<string, HostView["accusedBy"]>();
  for (const [by, { liars }] of reports)
    for (const { host, lies, shunnedMs } of liars) {
      const before = accused.get(host) ?? [];
      accused.set(host, [...before, { host: by, lies, shunned: shunnedMs > 0 }]);
    }
  return accused;
}

/** What rotted on hosts' disks, and whether it could be fetched anew. */
export function scrubCheck(reports: Iterable<readonly [string, Report]>): Check {
  const told = [...reports].flatMap(([host, { scrub }]) => (scrub ? [{ host, ...scrub }] : []));
  const rotten = told.filter(({ found }) => found > 0);
  const chunks = rotten.reduce((sum, { repaired }) => sum + repaired, 0);
  const open = rotten.filter(({ found, repaired }) => repaired < found);
  const bad = open.map(
    ({ host, found, repaired }) => `${host} (${found - repaired} of ${found} rotten chunks left)`,
  );
  const oldest = Math.max(0, ...told.map(({ oldestMs }) => oldestMs));
  const repairs = chunks > 0 ? `, ${chunks} rotten chunks repaired` : "";
  return check("stored data", bad, `read again within ${hours(oldest)}${repairs}`, {
    status: "warn",
    remedy: "It is tried again; bring a holder or the origin back, and check the host's disk.",
  });
}

export function liarCheck(accused: ReadonlyMap<string, HostView["accusedBy"]>): Check {
  const bad = [...accused].map(([host, by]) => {
    const lies = by.reduce((sum, one) => sum + one.lies, 0);
    const off = by.some((one) => one.shunned) ? ", cut off" : "";
    return `${host} (${lies} lies to ${by.map((one) => one.host).join(" ")}${off})`;
  });
  return check("peers", bad, "no host gave another wrong chunks or false holdings", {
    status: "warn",
    remedy:
      "Check the host's memory and disk; if it is not yours any more, `prestage hosts revoke` it.",
  });
}

/** Stagings that will be late, schedules that missed a run lately or staged nothing. */
export function stageChecks({ stages, schedules }: StageList, nowMs: number): Check[] {
  const late = stages
    .filter((s) => s.onTime === false)
    .map(({ id, ref, deadlineMs }) => {
      const by = new Date(deadlineMs ?? 0).toISOString().slice(0, 16).replace("T", " ");
      return `${ref.name}@${ref.version} (${id}) by ${by} UTC`;
    });
  const missed = schedules
    .filter((s) => s.problem !== null || nowMs - (s.lastMissedMs ?? -DAY_MS) < DAY_MS)
    .map((s) => `${s.id} (${s.artifact.name}): ${s.problem ?? `${s.missed} runs missed`}`);
  return [
    check("deadlines", late, "every staging will be in time, as far as is known", {
      status: "warn",
      remedy: "Raise qos.stagingBytesPerSecond, stage fewer hosts, or see `prestage stages`.",
    }),
    check("schedules", missed, `${schedules.length} schedules`, {
      status: "warn",
      remedy: "A run was missed while the coordinator was away, or failed: see `prestage stages`.",
    }),
  ];
}

/** What a distrusted key signed stays on a host as long as an environment runs from it. */
export function publisherCheck(
  held: readonly { what: string; reason: string; hosts: readonly string[] }[],
): Check {
  const bad = held.map(({ what, reason, hosts }) => `${what} (${reason}) on ${hosts.join(" ")}`);
  return check("publishers", bad, "nothing in use is signed by a key that is not trusted", {
    status: "warn",
    remedy:
      "It is fetched and started no more; publish it anew with a trusted key, or see `prestage publishers`.",
  });
}

export function followCheck(follows: FollowList["follows"]): Check {
  const failing = follows.flatMap(({ name, tag, error, failures, host }) =>
    error && failures > 0 ? [`${name}:${tag} on ${host}: ${error.message} (${error.code})`] : [],
  );
  const ok = follows.filter((f) => f.state === "ok").length;
  return check("followed tags", failing, `${ok} of ${follows.length} looked at and as they are`, {
    status: "warn",
    remedy:
      "Looked at again later and later, and by other hosts; see `prestage follow list` and docs/sources.md.",
  });
}

function hours(ms: number): string {
  return ms < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

function check(
  name: string,
  bad: readonly string[],
  good: string,
  otherwise: { status: "warn" | "fail"; remedy: string },
): Check {
  if (bad.length === 0) return { name, status: "ok", detail: good, remedy: "" };
  const shown = bad.slice(0, 5).join(", ") + (bad.length > 5 ? ` and ${bad.length - 5} more` : "");
  return { name, detail: shown, ...otherwise };
}

/** What of a report decides routes, as text that compares. */
export function serving(report: Report | undefined): string {
  return (report?.environments ?? [])
    .map((e) => `${e.workload}/${e.category}:${e.state}:${e.verdict?.passed}`)
    .join();
}

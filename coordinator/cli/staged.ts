/** What `prestage status` says of artifacts: where they are, since when, why, from whom. */
import type { StagedHost, StagedList } from "../../shared/api-stages.ts";
import { refText } from "../../shared/cli/refs.ts";
import { bytes, duration, percent, table, time } from "../../shared/cli/text.ts";

/** A line an artifact. */
export function stagedText({ artifacts }: StagedList): string {
  return table(
    artifacts,
    [
      { title: "ARTIFACT", value: (a) => refText(a.ref) },
      { title: "SIZE", value: (a) => bytes(a.bytes), right: true },
      { title: "ON", value: (a) => a.hosts.filter((h) => h.state === "active").length },
      { title: "UNDER WAY", value: (a) => a.hosts.filter((h) => h.state !== "active").length },
      { title: "RATE", value: (a) => rateText(sum(a.hosts, (h) => h.bytesPerSecond)), right: true },
      { title: "TAGS", value: (a) => a.tags.join(",") },
    ],
    "nothing is staged",
  );
}

/** All there is to say of each. */
export function stagedDetails({ artifacts }: StagedList, nowMs: number): string {
  return artifacts.map((artifact) => detailsOf(artifact, nowMs)).join("\n");
}

function detailsOf(a: StagedList["artifacts"][number], nowMs: number): string {
  const tags = a.tags.length > 0 ? `, tagged ${a.tags.join(", ")}` : "";
  const head = `${refText(a.ref)}  ${bytes(a.bytes)}, published by ${a.publisher}${tags}\n`;
  const hosts = table(
    a.hosts,
    [
      { title: "HOST", value: (h) => h.host },
      { title: "STATE", value: stateText },
      { title: "HAS", value: (h) => percent(a.bytes === 0 ? 1 : h.bytesDone / a.bytes) },
      { title: "RATE", value: (h) => rateText(h.bytesPerSecond), right: true },
      { title: "LEFT", value: (h) => (h.remainingMs ? duration(h.remainingMs) : null) },
      { title: "SINCE", value: (h) => h.sinceMs && `${duration(nowMs - h.sinceMs)} ago` },
      { title: "UNTIL", value: untilText },
      { title: "WHY", value: (h) => h.why.map((w) => `${w.kind}: ${w.detail}`).join("; ") },
      { title: "FROM", value: sourcesText },
    ],
    "on no host, and nothing asks for it",
  );
  return head + hosts + failureDetails(a.hosts);
}

/** A line for each host that said more than a code. */
export function failureDetails(hosts: readonly { host: string; detail: string | null }[]): string {
  return hosts.flatMap(({ host, detail }) => (detail ? `${host}: ${detail}\n` : [])).join("");
}

function stateText(h: StagedHost): string {
  if (!h.connected) return `${h.state}, away`;
  return h.code ?? h.waiting ?? h.state;
}

function untilText(h: StagedHost): string {
  if (h.untilMs !== null) return time(h.untilMs);
  const kinds = h.why.map((w) => w.kind);
  if (kinds.includes("explicit") || kinds.includes("schedule")) return "cancelled";
  if (kinds.includes("plan")) return "the plan drops it";
  return kinds.includes("route") ? "it is idle" : "room is needed";
}

const NAMES: Record<string, string> = { "origin:": "origin", "here:": "other versions here" };

function sourcesText({ sources }: StagedHost): string {
  const total = sum(sources, (s) => s.bytes);
  return sources
    .map((s) => `${NAMES[s.from] ?? s.from.replace(/:$/, "")} ${percent(s.bytes / total)}`)
    .join(", ");
}

const rateText = (perSecond: number) => (perSecond > 0 ? `${bytes(perSecond)}/s` : null);

function sum<T>(rows: readonly T[], of: (row: T) => number): number {
  return rows.reduce((total, row) => total + of(row), 0);
}

/** `prestage stages`: what was asked to be staged by hand, and the schedules that ask for it. */
import type { Command } from "commander";
import type { Schedule, StageList, StageStatus } from "../../shared/api-stages.ts";
import type { Shell } from "../../shared/cli/command.ts";
import { refText } from "../../shared/cli/refs.ts";
import { bytes, duration, percent, table, time } from "../../shared/cli/text.ts";
import { addApiCommand } from "./session.ts";

export function addStages(program: Command, shell: Shell, group: string): void {
  const stages = program.command("stages").summary("what was asked to be staged, and schedules");
  stages
    .helpGroup(group)
    .description("What was asked to be staged by hand, and schedules. Without a subcommand: list.");
  addApiCommand(stages, shell, {
    usage: "list",
    isDefault: true,
    summary: "stagings with their progress, schedules with their next run",
    run: async (call, api) => {
      const list = await api.get<StageList>("stages");
      call.show(list, () => stagesText(list));
    },
  });
  addApiCommand(stages, shell, {
    usage: "cancel <id>",
    summary: "end a staging or a schedule",
    description:
      "Ends a staging: hosts are no longer told to hold it, and drop it when they need the room. " +
      "Or a schedule: it runs no more; what it has staged stays.",
    examples: [["prestage stages cancel schedule-4f2a90", "no more runs"]],
    run: async (call, api) => {
      const list = await api.post<StageList>(
        `stages/${encodeURIComponent(call.arg(0))}/cancel`,
        {},
      );
      call.show(list, () => stagesText(list));
    },
  });
}

export function stagesText({ stages, schedules }: StageList): string {
  const list = table(
    stages,
    [
      { title: "STAGING", value: (s) => s.id },
      { title: "ARTIFACT", value: (s) => refText(s.ref) },
      { title: "HOSTS", value: (s) => `${ready(s)}/${s.hosts.length}` },
      { title: "HAS", value: (s) => percent(share(s)), right: true },
      {
        title: "RATE",
        value: (s) => (s.bytesPerSecond > 0 ? `${bytes(s.bytesPerSecond)}/s` : null),
      },
      { title: "LEFT", value: (s) => (s.remainingMs === null ? null : duration(s.remainingMs)) },
      { title: "SINCE", value: (s) => time(s.createdMs) },
      { title: "BY", value: (s) => s.deadlineMs && time(s.deadlineMs) },
      { title: "ON TIME", value: (s) => s.onTime },
      { title: "UNTIL", value: (s) => (s.untilMs === null ? "cancelled" : time(s.untilMs)) },
      { title: "ASKED BY", value: (s) => s.schedule ?? s.createdBy },
    ],
    "nothing was asked to be staged by hand",
  );
  return schedules.length === 0 ? list : `${list}\n${schedules.map(scheduleLine).join("")}`;
}

const ready = (s: StageStatus) => s.hosts.filter((h) => h.state === "done").length;

function share({ bytes: size, hosts }: StageStatus): number {
  if (size === 0 || hosts.length === 0) return 1;
  return hosts.reduce((sum, h) => sum + Math.min(size, h.bytesDone), 0) / (size * hosts.length);
}

function scheduleLine(s: Schedule): string {
  const missed = s.missed > 0 ? `, ${s.missed} missed` : "";
  const problem = s.problem === null ? "" : `, last: ${s.problem}`;
  return `${scheduleText(s).trimEnd()}${missed}${problem}\n`;
}

/** One line: what, where, when next. */
export function scheduleText({ id, artifact, hosts, cron, at, nextMs }: Schedule): string {
  const { name, version, tag } = artifact;
  const what = version === null ? `${name}:${tag}` : `${name}@${version}`;
  const where = hosts === null ? "all hosts" : hosts.join(",");
  const when = cron ? `${cron.expression} ${cron.timeZone}` : `at ${time(at ?? 0)}`;
  const next = nextMs === null ? "no more runs" : `next ${time(nextMs)}`;
  return `${id}  ${what} on ${where}  ${when}, ${next} (UTC)\n`;
}

/** `prestage signals`, `events`: what announces demand, what it was worth, and posting events. */
import type { Command } from "commander";
import type {
  EventList,
  EventsPosted,
  EventsRemoved,
  SignalsView,
} from "../../shared/api-signals.ts";
import type { Shell } from "../../shared/cli/command.ts";
import { parseDuration } from "../../shared/cli/duration.ts";
import { duration, percent, table, time } from "../../shared/cli/text.ts";
import { PrestageError } from "../../shared/errors.ts";
import { addApiCommand } from "./session.ts";

export function addSignals(program: Command, shell: Shell, group: string): void {
  addApiCommand(program, shell, {
    usage: "signals",
    group,
    summary: "calendars, feeds and webhooks, and what they were worth",
    description:
      "Sources of announced events: how they do, how many events are known, and what was learned " +
      "from them per category: what demand is multiplied by, and how sure it is that there is an " +
      "effect at all. Sources are declared under `signals:` in coordinator.yaml.",
    run: async (call, api) => {
      const view = await api.get<SignalsView>("signals");
      call.show(view, () => signalsText(view, call.clock.now()));
    },
  });
  addEvents(program, shell, group);
}

/** Effects less sure than that are left out of the text. */
const CERTAINTY_SHOWN = 0.05;
const EFFECTS_SHOWN = 40;

export function signalsText({ sources, effects }: SignalsView, nowMs: number): string {
  const ago = (ms: number | null) => (ms === null ? null : `${duration(nowMs - ms)} ago`);
  const list = table(
    sources,
    [
      { title: "SOURCE", value: (s) => s.name },
      { title: "TYPE", value: (s: SignalsView["sources"][number]) => s.type },
      { title: "STATE", value: (s) => s.state },
      { title: "LAST GOOD", value: (s) => ago(s.okMs), right: true },
      { title: "EVENTS", value: (s) => s.events.known, right: true },
      { title: "COMING", value: (s) => s.events.coming, right: true },
      { title: "FROM", value: (s) => s.address },
    ],
    "no source is declared",
  );
  const notes = sources.flatMap((s) => [
    ...(s.error ? [`${s.name}: ${s.error.message}\n`] : []),
    ...s.problems.map((problem) => `${s.name}: ${problem}\n`),
    ...(s.events.unmatched > 0
      ? [`${s.name}: ${s.events.unmatched} events that no rule takes affect nothing\n`]
      : []),
  ]);
  const rows = effects.flatMap(({ zones, ...effect }) =>
    zones
      .filter(({ certainty }) => certainty >= CERTAINTY_SHOWN)
      .map((zone) => ({ ...effect, ...zone })),
  );
  const learned = table(
    rows.slice(0, EFFECTS_SHOWN),
    [
      { title: "SIGNAL", value: (e) => e.signal },
      { title: "CATEGORY", value: (e: (typeof rows)[number]) => `${e.workload}/${e.category}` },
      { title: "WHEN", value: (e) => WHEN[e.zone] },
      { title: "DEMAND", value: (e) => `×${e.factor.toFixed(2)}`, right: true },
      { title: "SURE", value: (e) => percent(e.certainty), right: true },
      { title: "SEEN", value: (e) => e.occurrences, right: true },
    ],
    "no effect was learned",
  );
  return `${list}${notes.join("")}\n${learned}`;
}

const WHEN = { lead: "before", during: "during", lag: "after" };

function addEvents(program: Command, shell: Shell, group: string): void {
  const events = program.command("events").summary("announced events, and how to post one");
  events.helpGroup(group).description("Announced events. Without a subcommand: those to come.");
  addApiCommand<{ source?: string; past?: string; limit: string }>(events, shell, {
    usage: "list",
    isDefault: true,
    summary: "events to come, and past ones on request",
    setup: (command) => {
      command
        .option("--source <name>", "only of this source")
        .option("--past <time>", "also those of the last time, e.g. 7d")
        .option("--limit <n>", "how many at most", "50");
    },
    run: async (call, api) => {
      const { source, past, limit } = call.options;
      const fromMs = past && call.clock.now() - parseDuration(past, "--past");
      const list = await api.get<EventList>("events", {
        source,
        limit,
        fromMs: fromMs || undefined,
      });
      call.show(list, () => eventsText(list));
    },
  });
  addPost(events, shell);
  addApiCommand<{ source: string }>(events, shell, {
    usage: "remove <id>",
    summary: "take a posted event back",
    setup: (command) => {
      command.option("--source <name>", "the webhook source it was posted to", "events");
    },
    run: async (call, api) => {
      const body = { source: call.options.source, ids: [call.arg(0)] };
      const removed = await api.post<EventsRemoved>("events/remove", body);
      if (removed.removed === 0)
        throw new PrestageError("NOT_FOUND", `no posted event has the id ${call.arg(0)}`);
      call.show(removed, () => `${call.arg(0)} is taken back\n`);
    },
  });
}

export function eventsText({ events }: EventList): string {
  return table(
    events,
    [
      { title: "START (UTC)", value: (e) => time(e.startMs) },
      {
        title: "LASTS",
        value: (e) => (e.endMs > e.startMs ? duration(e.endMs - e.startMs) : null),
        right: true,
      },
      { title: "SOURCE", value: (e: EventList["events"][number]) => e.source },
      { title: "EVENT", value: (e) => e.summary },
      { title: "MAY AFFECT", value: (e) => e.targets.map(targetText).join(", ") },
      { title: "ID", value: (e) => e.id },
    ],
    "no event is known",
  );
}

function targetText({ workload, category }: EventList["events"][number]["targets"][number]) {
  if (workload === null) return "everything";
  return category === null ? workload : `${workload}/${category}`;
}

type PostOptions = {
  start: string;
  end?: string;
  for?: string;
  id?: string;
  source: string;
  workload: string[];
  tag: string[];
  location?: string;
};

function addPost(events: Command, shell: Shell): void {
  const collect = (value: string, list: string[]) => [...list, value];
  addApiCommand<PostOptions>(events, shell, {
    usage: "add <summary>",
    summary: "announce an event, past or to come",
    description:
      "Announces an event. Events of the same summary, digits aside, are occurrences of one " +
      "signal: what it does to demand is learned from them. The same again is taken once.",
    examples: [
      [
        'prestage events add "Spring sale" --start 2026-03-20T08:00+01:00 --for 2d --workload shop',
        "may affect every category of shop",
      ],
      ['prestage events add "Release 12" --start +2h --workload builds/linux', "in two hours"],
    ],
    setup: (command) => {
      command
        .requiredOption("--start <time>", "ISO 8601 with offset, `now`, or e.g. +2h")
        .option("--end <time>", "the same; default: a moment")
        .option("--for <time>", "how long it lasts, instead of --end")
        .option(
          "--workload <name>",
          "what it may affect, NAME or NAME/CATEGORY; repeatable",
          collect,
          [],
        )
        .option("--tag <name>", "a category that rules see; repeatable", collect, [])
        .option("--location <text>", "where; rules see it")
        .option("--id <id>", "default: made from summary and start")
        .option("--source <name>", "a source of type webhook", "events");
    },
    run: async (call, api) => {
      const event = eventOf(call.arg(0), call.options, call.clock.now());
      const body = { source: call.options.source, events: [event] };
      const posted = await api.post<EventsPosted>("events", body);
      call.show({ ...posted, id: event.id }, () => postedText(event.id, posted));
    },
  });
}

export function eventOf(summary: string, options: PostOptions, nowMs: number) {
  const start = parseTime(options.start, "--start", nowMs);
  if (options.end !== undefined && options.for !== undefined)
    throw new PrestageError("USAGE", "give --end or --for, not both");
  const end =
    options.for !== undefined
      ? start + parseDuration(options.for, "--for")
      : parseTime(options.end ?? options.start, "--end", nowMs);
  if (end < start) throw new PrestageError("USAGE", "--end is before --start");
  const targets = options.workload.map((text) => {
    const [workload = "", ...category] = text.split("/");
    return { workload, ...(category.length > 0 && { category: category.join("/") }) };
  });
  return {
    id: options.id ?? `${summary} ${new Date(start).toISOString()}`.slice(0, 200),
    summary,
    start,
    end,
    categories: options.tag,
    ...(options.location !== undefined && { location: options.location }),
    ...(targets.length > 0 && { targets }),
  };
}

function parseTime(text: string, option: string, nowMs: number): number {
  if (text === "now") return Math.round(nowMs);
  if (text.startsWith("+")) return Math.round(nowMs) + parseDuration(text.slice(1), option);
  const at = /(Z|[+-]\d{2}:?\d{2})$/i.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at))
    throw new PrestageError(
      "USAGE",
      `${option} ${text}: a time looks like 2026-03-20T08:00+01:00, now or +2h`,
    );
  return at;
}

function postedText(id: string, { added, changed, unmatched }: EventsPosted): string {
  const did = added > 0 ? "added" : changed > 0 ? "changed" : "known already";
  const note =
    unmatched.length > 0 ? "it affects nothing: name a --workload, or a rule for it\n" : "";
  return `${did}: ${id}\n${note}`;
}

/** `signals:` of coordinator.yaml: which calendars, feeds and webhooks tell of coming demand. */
import { z } from "zod";
import { CategoryName, Name } from "../../shared/domain.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** The webhook source that is always there; a declared one of that name adds rules to it. */
export const POSTED = "events";

const span = (max: number) => z.number().int().min(0).max(max);

const Pattern = z
  .string()
  .min(1)
  .max(500)
  .refine((text) => isPattern(text), "not a regular expression");

/** Equal, or with `matches` a regular expression somewhere in it; case does not matter. */
const Matcher = z.union([z.string().min(1).max(500), z.strictObject({ matches: Pattern })]);
export type Matcher = z.infer<typeof Matcher>;

const Rule = z.strictObject({
  name: Name.optional().describe(
    "All events of the rule are one signal of that name. Default: events of the same title are " +
      "one (digits aside); all items of a feed are one.",
  ),
  when: z
    .strictObject({
      summary: Matcher.optional(),
      category: Matcher.optional().describe("Any of the event's categories or tags."),
      location: Matcher.optional(),
      description: Matcher.optional(),
    })
    .default({})
    .describe("All that are given must hold; none: every event of the source."),
  to: z
    .array(
      z.strictObject({
        workload: Name.or(z.literal("*")).describe("`*` = every workload."),
        category: CategoryName.optional().describe("Default: every category of it."),
      }),
    )
    .min(1)
    .max(200)
    .describe("What may be affected. Whether it is, is learned; more costs memory and time."),
  leadMs: span(2 * DAY_MS)
    .default(HOUR_MS)
    .describe("Effects may begin that long before the event. Longer: slower to learn."),
  lagMs: span(2 * DAY_MS)
    .default(HOUR_MS)
    .describe("Effects may last that long after the event. Longer: slower to learn."),
});
export type Rule = z.infer<typeof Rule>;

const rules = z.array(Rule).min(1).max(200);
const pollMs = z
  .number()
  .int()
  .min(1_000)
  .max(7 * DAY_MS)
  .default(900_000)
  .describe("Real time between looks. Lower: changes are seen sooner, more load on the server.");

const Secret = z
  .strictObject({
    scheme: z.enum(["bearer", "basic", "header"]).default("bearer"),
    header: z
      .string()
      .regex(/^[A-Za-z0-9-]{1,64}$/)
      .optional()
      .describe("Name of the header, with scheme `header`."),
    file: z.string().min(1).optional().describe("Holds the token, or user:password."),
    env: z.string().min(1).optional().describe("Environment variable that holds it."),
  })
  .refine((s) => (s.file === undefined) !== (s.env === undefined), "needs exactly one of file, env")
  .refine(
    (s) => (s.header !== undefined) === (s.scheme === "header"),
    "header goes with scheme: header",
  );
export type Secret = z.infer<typeof Secret>;

const httpUrl = z
  .url({ protocol: /^https?$/ })
  .max(2_048)
  .refine((url) => !url.includes("@"), "no user or password in the URL: use auth");

const fetched = {
  name: Name,
  url: httpUrl.optional(),
  urlFile: z.string().min(1).optional().describe("File that holds the URL, when it is secret."),
  urlEnv: z.string().min(1).optional().describe("Environment variable that holds the URL."),
  file: z.string().min(1).optional().describe("A file on this machine instead of a URL."),
  auth: Secret.optional(),
  privateNetwork: z
    .boolean()
    .default(false)
    .describe("Whether the URL may lead to private or loopback addresses."),
  pollMs,
  rules,
};
type Fetched = Partial<Record<"url" | "urlFile" | "urlEnv" | "file", string>>;
const onePlace = (s: Fetched) =>
  [s.url, s.urlFile, s.urlEnv, s.file].filter((place) => place !== undefined).length === 1;
const ONE_PLACE = "needs exactly one of url, urlFile, urlEnv, file";

const timeZone = z
  .string()
  .max(64)
  .refine(isTimeZone, "not a time zone, such as Europe/Berlin")
  .optional();

const Calendar = z
  .strictObject({
    ...fetched,
    type: z.literal("calendar").describe("iCalendar."),
    timeZone: timeZone.describe(
      "Of all-day events and times without a zone. Default: what the calendar says, else UTC.",
    ),
  })
  .refine(onePlace, ONE_PLACE);

const Feed = z
  .strictObject({
    ...fetched,
    type: z.literal("feed").describe("RSS, Atom, JSON Feed, or JSON with a list of events."),
    durationMs: span(31 * DAY_MS)
      .default(0)
      .describe("How long an item is an event, from its publication on."),
  })
  .refine(onePlace, ONE_PLACE);

const Holidays = z.strictObject({
  name: Name,
  type: z.literal("holidays").describe("Public holidays of a country."),
  country: z.string().regex(/^[A-Za-z]{2}$/, "two letters, such as DE"),
  state: z.string().max(16).optional().describe("Such as BY for Bavaria."),
  region: z.string().max(16).optional(),
  kinds: z
    .array(z.enum(["public", "bank", "school", "optional", "observance"]))
    .min(1)
    .default(["public"])
    .describe("Also the category that rules see."),
  timeZone: timeZone.describe("Default: that of the country, or its first."),
  rules,
});

const Webhook = z.strictObject({
  name: Name,
  type: z.literal("webhook").describe("Events that are posted to /api/v1/events."),
  rules,
});

export const SignalSource = z.discriminatedUnion("type", [Calendar, Feed, Holidays, Webhook]);
export type SignalSource = z.infer<typeof SignalSource>;
export type FetchedSource = Extract<SignalSource, { type: "calendar" | "feed" }>;

export const SignalSettings = z
  .strictObject({
    sources: z.array(SignalSource).max(200).default([]),
    fetchBytesMax: z
      .number()
      .int()
      .min(1_024)
      .max(64 << 20)
      .default(8 << 20)
      .describe("Largest calendar or feed. Higher: more memory while one is read."),
    fetchTimeoutMs: z
      .number()
      .int()
      .min(100)
      .max(300_000)
      .default(20_000)
      .describe("For one look, redirects included, and again for reading what came."),
  })
  .superRefine(({ sources }, ctx) => {
    const seen = new Set<string>();
    sources.forEach(({ name, type }, i) => {
      const path = ["sources", i, "name"];
      if (seen.has(name)) ctx.addIssue({ code: "custom", path, message: "declared twice" });
      if (name === POSTED && type !== "webhook")
        ctx.addIssue({ code: "custom", path, message: `${POSTED} is the name of a webhook` });
      seen.add(name);
    });
  });
export type SignalSettings = z.infer<typeof SignalSettings>;

function isPattern(text: string): boolean {
  try {
    return new RegExp(text, "iu").source !== "";
  } catch {
    return false;
  }
}

export function isTimeZone(text: string): boolean {
  try {
    return Intl.DateTimeFormat(undefined, { timeZone: text }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

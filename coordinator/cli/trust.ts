/** `prestage join-token`, `token`, `audit`: who may join, who may ask, and what was done. */

import type { Command } from "commander";
import { z } from "zod";
import {
  type ApiTokenGiven,
  type ApiTokenList,
  type AuditView,
  type JoinTokenGiven,
  Role,
} from "../../shared/api.ts";
import type { Shell } from "../../shared/cli/command.ts";
import { parseDuration } from "../../shared/cli/duration.ts";
import { duration, table, time } from "../../shared/cli/text.ts";
import { PrestageError } from "../../shared/errors.ts";
import { addApiCommand } from "./session.ts";

export function addTrust(program: Command, shell: Shell, group: string): void {
  addJoinToken(program, shell, group);
  addApiTokens(program, shell, group);
  addAudit(program, shell, group);
}

function addJoinToken(program: Command, shell: Shell, group: string): void {
  addApiCommand<{ host?: string; site?: string; ttl: string }>(program, shell, {
    usage: "join-token",
    group,
    summary: "a one-use token with which a host joins",
    description:
      "Prints a token that lets one host join, once, until it expires. It carries the hash of " +
      "this fleet's root certificate, so that the host speaks to no other coordinator.",
    examples: [
      ["prestage join-token --host pop7 --ttl 15m > token", "only for a host named pop7"],
      [
        "prestage join-token | ssh pop7 prestage join --token-file - ...",
        "never on a command line",
      ],
    ],
    setup: (command) => {
      command
        .option("--host <name>", "only a host of this name may use it")
        .option("--site <name>", "only for this site")
        .option("--ttl <time>", "how long it can be used", "1h");
    },
    run: async (call, api) => {
      const { host, site, ttl } = call.options;
      const ttlMs = parseDuration(ttl, "--ttl");
      const given = await api.post<JoinTokenGiven>("join-tokens", { ttlMs, host, site });
      call.show(given, () => `${given.token}\n`);
      if (!call.json && call.terminal.errIsTty)
        call.terminal.err(`expires in ${duration(ttlMs)}, works once\n`);
    },
  });
}

type CreateOptions = { role: string; ttl: string };

function addApiTokens(program: Command, shell: Shell, group: string): void {
  const token = program.command("token").summary("API tokens of people and programs");
  token.helpGroup(group).description("API tokens of people and programs.");
  addApiCommand<CreateOptions>(token, shell, {
    usage: "create <name>",
    summary: "an API token with a role",
    description: "Prints a new API token, this once: the coordinator keeps only its hash.",
    examples: [["prestage token create grafana --role viewer --ttl 365d", "for reading metrics"]],
    setup: (command) => {
      command
        .requiredOption(
          "--role <role>",
          "viewer (reads), operator (also changes), admin (also trust)",
        )
        .option("--ttl <time>", "how long it is valid; `never` does not expire", "90d");
    },
    run: async (call, api) => {
      const { role, ttl } = call.options;
      const ttlMs = ttl === "never" ? null : parseDuration(ttl, "--ttl");
      const body = { name: call.arg(0), role: parseRole(role), ttlMs };
      const given = await api.post<ApiTokenGiven>("tokens", body);
      call.show(given, () => `${given.token}\n`);
    },
  });
  addApiCommand(token, shell, {
    usage: "list",
    isDefault: true,
    summary: "names, roles and last use",
    run: async (call, api) => {
      const { tokens } = await api.get<ApiTokenList>("tokens");
      call.show({ tokens }, () =>
        table(tokens, [
          { title: "NAME", value: (t) => t.name },
          { title: "ROLE", value: (t) => t.role },
          { title: "CREATED", value: (t) => time(t.createdMs) },
          { title: "EXPIRES", value: (t) => (t.expiresMs === null ? "never" : time(t.expiresMs)) },
          {
            title: "LAST USED",
            value: (t) => (t.lastUsedMs === null ? "never" : time(t.lastUsedMs)),
          },
        ]),
      );
    },
  });
  addApiCommand(token, shell, {
    usage: "revoke <name>",
    summary: "make a token worthless at once",
    run: async (call, api) => {
      const name = call.arg(0);
      const left = await api.post<ApiTokenList>(`tokens/${encodeURIComponent(name)}/revoke`, {});
      call.show(left, () => `${name} is revoked\n`);
    },
  });
}

function parseRole(text: string): Role {
  const role = Role.safeParse(text);
  if (!role.success)
    throw new PrestageError("USAGE", `--role ${text}: one of ${Role.options.join(", ")}`);
  return role.data;
}

function addAudit(program: Command, shell: Shell, group: string): void {
  addApiCommand<{ limit: string; verify?: boolean }>(program, shell, {
    usage: "audit",
    group,
    summary: "who did what, refusals included",
    description:
      "The newest rows of the audit trail. With --verify the whole hash chain is walked; exit " +
      "code 9 when a row was changed or removed.",
    setup: (command) => {
      command
        .option("--limit <n>", "rows shown", "50")
        .option("--verify", "walk the whole hash chain");
    },
    run: async (call, api) => {
      const limit = z.coerce.number().int().min(1).max(10_000).safeParse(call.options.limit);
      if (!limit.success) throw new PrestageError("USAGE", "--limit: a whole number, 1 to 10000");
      const verify = call.options.verify === true;
      const view = await api.get<AuditView>("audit", { limit: limit.data, verify });
      call.show(view, () => auditText(view));
      if (view.verified && !view.verified.ok)
        throw new PrestageError(
          "CORRUPT",
          `the audit trail was changed: row ${view.verified.brokenAt} does not fit its chain`,
        );
    },
  });
}

export function auditText({ rows, head, verified }: AuditView): string {
  const list = table(
    rows,
    [
      { title: "SEQ", value: (r) => r.seq },
      { title: "AT", value: (r) => time(r.atMs) },
      { title: "WHO", value: (r) => r.actor },
      { title: "FROM", value: (r) => r.address },
      { title: "ACTION", value: (r) => r.action },
      { title: "OBJECT", value: (r) => r.object },
      { title: "OUTCOME", value: (r) => r.outcome },
    ],
    "nothing was done yet",
  );
  const checked = verified?.ok ? `${verified.rows} rows verified, ` : "";
  return `${list}${checked}head ${head.seq} ${head.hash}\n`;
}

/** `prestage join`: this host becomes a member of a fleet, with a one-use token. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { addCommand, type Shell } from "../../shared/cli/command.ts";
import { HostId, Name } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { agentDataDir } from "./local.ts";

export type Enroll = (options: {
  dir: string;
  coordinatorUrl: string;
  token: string;
  host: string;
  site: string;
  signal: AbortSignal;
}) => Promise<void>;

type Options = {
  coordinator: string;
  tokenFile: string;
  host: string;
  site: string;
  data?: string;
  config?: string;
};

export function addJoin(
  program: Command,
  shell: Shell,
  group: string,
  deps: { enroll: Enroll },
): void {
  addCommand<Options>(program, shell, {
    usage: "join",
    group,
    summary: "make this host a member of a fleet",
    description:
      "Makes this host's key, proves to the coordinator that it may join, and keeps the " +
      "certificate it gets. The token is read from a file or stdin, never from the command line, " +
      "and is sent only after the coordinator has shown the certificate the token names.",
    examples: [
      [
        "prestage join --coordinator https://control:7400 --token-file token --host pop7 --site berlin",
        "then: prestage agent --config ~/.prestage/agent/agent.yaml",
      ],
    ],
    setup: (command) => {
      command
        .requiredOption("--coordinator <url>", "https://HOST:PORT of the coordinator")
        .requiredOption("--token-file <file>", "where the join token is; - reads stdin")
        .requiredOption("--host <name>", "name of this host in the fleet")
        .option("--site <name>", "group of hosts with fast links between them", "default")
        .option("--data <dir>", "data folder (default: $PRESTAGE_DATA, else ~/.prestage/agent)")
        .option(
          "--config <file>",
          "agent.yaml to write if there is none (default: DATA/agent.yaml)",
        );
    },
    run: async (call) => {
      const { coordinator, tokenFile } = call.options;
      const host = named(HostId, "--host", call.options.host);
      const site = named(Name, "--site", call.options.site);
      const dir = resolve(agentDataDir(call.options.data, call.terminal));
      const config = resolve(call.options.config ?? join(dir, "agent.yaml"));
      if (!URL.canParse(coordinator) || new URL(coordinator).protocol !== "https:")
        throw new PrestageError("USAGE", `--coordinator ${coordinator}: an https:// URL`);
      const token = await readToken(tokenFile, call.terminal.stdin);
      await mkdir(dir, { recursive: true, mode: 0o700 });
      await deps.enroll({
        dir,
        coordinatorUrl: coordinator,
        token,
        host,
        site,
        signal: call.signal,
      });
      const written = await writeConfig(config, { dataDir: dir, coordinator, host, site });
      call.show({ host, site, dataDir: dir, config, written }, () =>
        [
          `${host} is a member of site ${site}`,
          written ? `${config} written` : `${config} kept as it was`,
          `start it: prestage agent --config ${config}\n`,
        ].join("\n"),
      );
    },
  });
}

function named(schema: typeof Name, option: string, text: string): string {
  const name = schema.safeParse(text);
  if (name.success) return name.data;
  throw new PrestageError("USAGE", `${option} ${text}: ${name.error.issues[0]?.message ?? ""}`);
}

const TOKEN_BYTES_MAX = 4_096;

async function readToken(file: string, stdin: AsyncIterable<Buffer | string>): Promise<string> {
  const text = file === "-" ? await readAll(stdin) : await readFile(file, "utf8").catch(unreadable);
  const token = text.trim();
  if (!/^ps1\.[^\s]+$/.test(token) || token.length > TOKEN_BYTES_MAX)
    throw new PrestageError("USAGE", "that is no join token: it starts with ps1. and is one line");
  return token;

  function unreadable(cause: unknown): never {
    throw new PrestageError("USAGE", `cannot read the token file ${file}`, { cause });
  }
}

async function readAll(stdin: AsyncIterable<Buffer | string>): Promise<string> {
  let text = "";
  for await (const part of stdin) {
    text += String(part);
    if (text.length > TOKEN_BYTES_MAX) break;
  }
  return text;
}

/** False when a file was there: it is the operator's and stays. */
async function writeConfig(
  path: string,
  { dataDir, coordinator, host, site }: Record<"dataDir" | "coordinator" | "host" | "site", string>,
): Promise<boolean> {
  const lines = Object.entries({ dataDir, coordinator, host, site });
  // JSON strings are YAML strings.
  const text = lines.map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`).join("");
  try {
    await writeFile(path, text, { flag: "wx", mode: 0o600 });
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw new PrestageError("USAGE", `cannot write ${path}`, { cause });
  }
}

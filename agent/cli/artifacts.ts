/** `prestage publish` and `get`: artifact versions in and out of the local agent. */
import { cp, mkdir, readdir } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { addCommand, type Call, type Shell } from "../../shared/cli/command.ts";
import { parseVersion, parseWish } from "../../shared/cli/refs.ts";
import { bytes } from "../../shared/cli/text.ts";
import { PrestageError } from "../../shared/errors.ts";
import { agentDataDir, callAgent } from "./local.ts";

export type Published = { name: string; version: string; manifestHash: string; tags: string[] };

const dataOption = [
  "--data <dir>",
  "data folder of the local agent (default: $PRESTAGE_DATA, else ~/.prestage/agent)",
] as const;

/** Cuts, signs and announces a directory through the agent whose data is in `dataDir`. */
export function publishDirectory(
  dataDir: string,
  wish: { dir: string; name: string; version: string; originUrl: string | null; tags: string[] },
  options: { signal: AbortSignal; progress?: (bytesDone: number, bytes: number) => void },
): Promise<Published> {
  return callAgent<Published>(dataDir, { method: "POST", path: "/publish", body: wish }, options);
}

type PublishOptions = {
  name: string;
  version: string;
  tag?: string[];
  origin?: string;
  data?: string;
};

export function addPublish(program: Command, shell: Shell, group: string): void {
  addCommand<PublishOptions>(program, shell, {
    usage: "publish <dir>",
    group,
    summary: "cut, sign and announce an artifact version",
    description:
      "Makes the tree of files under DIR an immutable, signed version that every host of the " +
      "fleet can get. With --origin the files stay where they are already served from, and this " +
      "host keeps no copy.",
    examples: [
      ["prestage publish ./model --name llama --version 8b-v3 --tag latest", "this host seeds it"],
      [
        "prestage publish ./tiles --name tiles --version 2026-11 --origin https://cdn.example/tiles/",
        "hosts fetch it from there, and then from one another",
      ],
    ],
    setup: (command) => {
      command
        .requiredOption("--name <name>", "artifact name")
        .requiredOption("--version <version>", "version, never published before")
        .option("--tag <tag>", "moving tag that now means this version; may be repeated", collect)
        .option("--origin <url>", "base URL that serves the same files, with ranges")
        .option(...dataOption);
    },
    run: async (call) => {
      const { name, version } = parseVersion(`${call.options.name}@${call.options.version}`);
      const dir = resolve(call.arg(0));
      await readdir(dir).catch((cause: unknown) => {
        throw new PrestageError("USAGE", `${dir} is not a folder that can be read`, { cause });
      });
      const wish = {
        dir,
        name,
        version,
        originUrl: originUrl(call.options.origin),
        tags: call.options.tag ?? [],
      };
      const published = await withBar(call, `publishing ${name}@${version}`, (progress) =>
        publishDirectory(agentDataDir(call.options.data, call.terminal), wish, {
          signal: call.signal,
          progress,
        }),
      );
      call.show(published, () => publishedText(published));
    },
  });
}

function publishedText({ name, version, manifestHash, tags }: Published): string {
  const tagged = tags.map((tag) => `  ${name}:${tag}`).join("");
  return `${name}@${version}  ${manifestHash}${tagged}\n`;
}

/** A base URL: with the slash at its end that file names are put behind. */
function originUrl(text: string | undefined): string | null {
  if (text === undefined) return null;
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new PrestageError("USAGE", `--origin ${text}: an http or https URL`);
  return text.endsWith("/") ? text : `${text}/`;
}

const collect = (value: string, before: string[] = []) => [...before, value];

export function addGet(program: Command, shell: Shell, group: string): void {
  addCommand<{ output?: string; data?: string }>(program, shell, {
    usage: "get <artifact>",
    group,
    summary: "an artifact from the local agent, fetched if need be",
    description:
      "Prints the folder in which the local agent has NAME@VERSION or NAME:TAG, after fetching " +
      "it from peers or its origin if it is not there. That folder is read-only and may be " +
      "evicted later; -o makes a copy that is yours.",
    examples: [
      ["prestage get llama@8b-v3", "prints where it is"],
      ["prestage get tiles:latest -o ./tiles", "a copy"],
    ],
    setup: (command) => {
      command.option("-o, --output <dir>", "copy it there").option(...dataOption);
    },
    run: async (call) => {
      const wish = parseWish(call.arg(0));
      const dataDir = agentDataDir(call.options.data, call.terminal);
      const { path } = await withBar(call, `getting ${call.arg(0)}`, (progress) =>
        callAgent<{ path: string }>(
          dataDir,
          { method: "POST", path: "/get", body: wish },
          { signal: call.signal, progress },
        ),
      );
      const output = call.options.output;
      if (output !== undefined) await copyTree(path, resolve(output));
      const shown = output === undefined ? path : resolve(output);
      call.show({ artifact: wish, path: shown }, () => `${shown}\n`);
    },
  });
}

async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  if ((await readdir(to)).length > 0)
    throw new PrestageError("CONFLICT", `${to} is not empty: choose another folder for -o`);
  await cp(from, to, { recursive: true });
}

async function withBar<T>(
  call: Call<object>,
  label: string,
  work: (progress: (bytesDone: number, size: number) => void) => Promise<T>,
): Promise<T> {
  const bar = call.progress(label);
  try {
    return await work((done, size) => bar.update(done, size, `${bytes(done)} of ${bytes(size)}`));
  } finally {
    bar.end();
  }
}

/** `prestage publish` and `get`: artifact versions in and out of the local agent. */
import { chmod, cp, mkdir, readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { addCommand, type Call, type Shell } from "../../shared/cli/command.ts";
import { TransferText } from "../../shared/cli/rate.ts";
import { parseVersion, parseWish } from "../../shared/cli/refs.ts";
import { bytes } from "../../shared/cli/text.ts";
import { PrestageError } from "../../shared/errors.ts";
import { IMAGE_SCHEME, imageArtifactName, parseImage } from "../../shared/image.ts";
import { terminalClock } from "../../shared/runtime/terminal.ts";
import { parseSourceUrl, shownUrl } from "../../shared/source-url.ts";
import { agentDataDir, callAgent } from "./local.ts";
import { readKey } from "./publisher-key.ts";

type Amount = { bytes: number; chunks: number };
export type Published = {
  name: string;
  version: string;
  manifestHash: string;
  tags: string[];
  bytes: number;
  files: number;
  novelty: { all: Amount; toName: Amount; toHost: Amount };
  store: { logicalBytes: number; usedBytes: number };
};

const dataOption = [
  "--data <dir>",
  "data folder of the local agent (default: $PRESTAGE_DATA, else ~/.prestage/agent)",
] as const;

export type PublishWish = {
  from: { dir: string; originUrl: string | null } | { url: string; keep: boolean };
  name: string;
  /** Null: named after the source's revision. */
  version: string | null;
  tags: string[];
  /** Of the key that signs; absent: the agent's host does. */
  publicKey?: string;
};

/** Cuts, signs and announces a version through the agent whose data is in `dataDir`. */
export function publishArtifact(
  dataDir: string,
  wish: PublishWish,
  options: Parameters<typeof callAgent>[2],
): Promise<Published> {
  return callAgent<Published>(dataDir, { method: "POST", path: "/publish", body: wish }, options);
}

type PublishOptions = {
  name?: string;
  version?: string;
  platform?: string;
  follow?: string;
  context?: string;
  tag?: string[];
  origin?: string;
  list?: string;
  keep: boolean;
  key?: string;
  data?: string;
};

/** Lets a tag follow a URL; it is the coordinator that is asked. */
type StartFollowing = (
  call: Call<PublishOptions>,
  wish: { url: string; name: string; tag: string; every: string },
) => Promise<void>;

export function addPublish(
  program: Command,
  shell: Shell,
  group: string,
  startFollowing: StartFollowing,
): void {
  addCommand<PublishOptions>(program, shell, {
    usage: "publish <source>",
    group,
    summary: "cut, sign and announce an artifact version",
    description:
      "Makes a tree of files an immutable, signed version that every host of the fleet can get. " +
      "SOURCE is a directory, or a URL that the local agent reads: http, https, s3, git, oci, " +
      "rsync, file (docs/sources.md). This host then seeds it, and hosts that find no peer go to " +
      "the URL. With --origin the files of a directory stay where they are already served from, " +
      "and this host keeps no copy. Credentials stand in agent.yaml, never in a URL. With --follow " +
      "the URL is looked at now and then by one agent of the fleet; what is new there is " +
      "published and tagged by itself (`prestage follow`).",
    examples: [
      ["prestage publish ./model --name llama --version 8b-v3 --tag latest", "this host seeds it"],
      [
        "prestage publish ./tiles --name tiles --version 2026-11 --origin https://cdn.example/tiles/",
        "hosts fetch it from there, and then from one another",
      ],
      [
        "prestage publish s3://models/llama/ --name llama --version auto --tag latest",
        "a version named after what lies there now",
      ],
      [
        "prestage publish oci://registry.example/team/app:1.4 --platform linux/amd64,linux/arm64",
        "a container image, for the image mirrors of all hosts (docs/oci.md)",
      ],
      [
        "prestage publish 'git+https://git.example/app.git?ref=main' --name app --tag main --follow 1m",
        "main moves when the branch does",
      ],
    ],
    setup: (command) => {
      command
        .option("--name <name>", "artifact name; only an image has a default, its repository")
        .option("--version <version>", "never published before; auto: after the revision")
        .option("--tag <tag>", "moving tag that now means this version; may be repeated", collect)
        .option("--origin <url>", "of a directory: base URL that serves the same files")
        .option("--list <file>", "of an http folder: file below it that names the paths")
        .option(
          "--platform <list>",
          "of an image: os/arch with commas, or all (default: this host's)",
        )
        .option("--no-keep", "of a URL: describe it only, and leave the bytes there")
        .option("--follow <time>", "of a URL: look that often, e.g. 1m, and move the --tag")
        .option("--context <file>", "with --follow: who to speak to and as whom")
        .option("--key <file>", "sign with this publisher's key, not as the host")
        .option(...dataOption);
    },
    run: async (call) => {
      const from = await sourceOf(call);
      const { follow } = call.options;
      if (follow !== undefined)
        return startFollowing(call, { ...followWish(call.options, from), every: follow });
      const { name, version } = naming(call.options, from);
      const signing = call.options.key === undefined ? null : await readKey(call.options.key);
      const wish = {
        from,
        name: parseWish(name).name,
        version: version === "auto" ? null : parseVersion(`${name}@${version}`).version,
        tags: call.options.tag ?? [],
        ...(signing ? { publicKey: signing.publicKey } : {}),
      };
      const published = await withBar(call, `publishing ${name}`, (progress) =>
        publishArtifact(agentDataDir(call.options.data, call.terminal), wish, {
          signal: call.signal,
          progress,
          sign: signing ? (body) => signing.sign(body, wish) : undefined,
        }),
      );
      call.show(published, () => publishedText(published));
    },
  });
}

/** Only an image's URL says what it is called. */
function naming(
  { name, version }: PublishOptions,
  from: PublishWish["from"],
): { name: string; version: string } {
  const url = "url" in from ? new URL(from.url) : null;
  if (url?.protocol === IMAGE_SCHEME) {
    const image = parseImage(shownUrl(url));
    return { name: name ?? imageArtifactName(image), version: version ?? "auto" };
  }
  if (name !== undefined && version !== undefined) return { name, version };
  throw new PrestageError("USAGE", "--name and --version are needed");
}

function followWish(
  options: PublishOptions,
  from: PublishWish["from"],
): { url: string; name: string; tag: string } {
  const { version = "auto", tag: tags = [], keep, key } = options;
  const [tag] = tags;
  if (!("url" in from)) throw new PrestageError("USAGE", "--follow goes with a URL");
  if (tag === undefined || tags.length > 1)
    throw new PrestageError("USAGE", "--follow needs one --tag, the one that moves");
  if (version !== "auto" || !keep || key !== undefined)
    throw new PrestageError("USAGE", "--follow names, keeps and signs versions itself");
  const { name } = parseWish(`${naming({ ...options, version }, from).name}:${tag}`);
  return { url: from.url, name, tag };
}

async function sourceOf(call: Call<PublishOptions>): Promise<PublishWish["from"]> {
  const { origin, list, keep, platform } = call.options;
  const source = call.arg(0);
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(source)) {
    if (origin !== undefined)
      throw new PrestageError("USAGE", "--origin goes with a directory: a URL is its own origin");
    const url = parseSourceUrl(source);
    if (list !== undefined) url.hash = new URLSearchParams({ list }).toString();
    if (platform !== undefined && url.protocol !== IMAGE_SCHEME)
      throw new PrestageError("USAGE", "--platform goes with an oci:// URL");
    if (platform !== undefined) url.searchParams.set("platform", platform);
    return { url: url.href, keep };
  }
  if (platform !== undefined)
    throw new PrestageError("USAGE", "--platform goes with an oci:// URL");
  if (list !== undefined || !keep)
    throw new PrestageError("USAGE", "--list and --no-keep go with a URL");
  const dir = resolve(source);
  await readdir(dir).catch((cause: unknown) => {
    throw new PrestageError("USAGE", `${dir} is not a folder that can be read`, { cause });
  });
  return { dir, originUrl: originUrl(origin) };
}

function publishedText(published: Published): string {
  const { name, version, manifestHash, tags, files, novelty, store } = published;
  const tagged = tags.map((tag) => `  ${name}:${tag}`).join("");
  const amount = (a: Amount) => `${bytes(a.bytes)} in ${a.chunks} chunks`;
  const { all, toName, toHost } = novelty;
  const known = all.bytes > 0 ? Math.floor((1 - toName.bytes / all.bytes) * 1000) / 10 : 0;
  return (
    `${name}@${version}  ${manifestHash}${tagged}\n` +
    `${bytes(published.bytes)} in ${files} files; new: ${amount(toName)} ` +
    `(${known} % is in older versions of ${name}), ${amount(toHost)} of it nowhere on this host\n` +
    `versions on this host: ${bytes(store.logicalBytes)}, on its disk ${bytes(store.usedBytes)}\n`
  );
}

/** A base URL: with the slash at its end that file names are put behind. */
function originUrl(text: string | undefined): string | null {
  if (text === undefined) return null;
  const { href } = parseSourceUrl(text);
  return href.endsWith("/") ? href : `${href}/`;
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
  for (const entry of await readdir(to, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    await chmod(path, (await stat(path)).mode | 0o200);
  }
  await chmod(to, 0o755);
}

async function withBar<T>(
  call: Call<object>,
  label: string,
  work: (progress: (bytesDone: number, size: number) => void) => Promise<T>,
): Promise<T> {
  const bar = call.progress(label);
  const text = new TransferText();
  try {
    return await work((done, size) =>
      bar.update(done, size, text.at(terminalClock.monotonic(), done, size)),
    );
  } finally {
    bar.end();
  }
}

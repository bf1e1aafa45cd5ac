/** `prestage publishers`: whose signatures count for which artifact names. */
import { createPublicKey, type KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import type { PublisherList, PublisherTrust } from "../../shared/api-publishers.ts";
import type { Shell } from "../../shared/cli/command.ts";
import { table, time } from "../../shared/cli/text.ts";
import { PrestageError } from "../../shared/errors.ts";
import { publicKeyOf } from "../../shared/manifest.ts";
import { NamePattern, PublicKey } from "../../shared/publishers.ts";
import { addApiCommand } from "./session.ts";

export function addPublishers(program: Command, shell: Shell, group: string): void {
  const publishers = program
    .command("publishers")
    .summary("whose signatures count for which names");
  publishers
    .helpGroup(group)
    .description("Whose signatures count for which artifact names. Without a subcommand: list.");
  addApiCommand(publishers, shell, {
    usage: "list",
    isDefault: true,
    summary: "keys and hosts that may publish, and what they have signed",
    run: async (call, api) => {
      const list = await api.get<PublisherList>("publishers");
      call.show(list, () => publishersText(list));
    },
  });
  addTrusting(publishers, shell);
  addApiCommand(publishers, shell, {
    usage: "distrust <name>",
    summary: "nothing it signed is fetched or activated any more",
    description:
      "Hosts fetch and activate nothing more that the key NAME, the host host:NAME or any host " +
      "(hosts) has signed, also while the coordinator is away later on. What an environment runs " +
      "from stays until it ends; prestage doctor names it.",
    examples: [["prestage publishers distrust ci", "the key ci counts no more"]],
    run: async (call, api) => {
      const path = `publishers/${encodeURIComponent(call.arg(0))}/distrust`;
      const list = await api.post<PublisherList>(path, {});
      call.show(list, () => publishersText(list));
    },
  });
}

function addTrusting(publishers: Command, shell: Shell): void {
  addApiCommand<{ key?: string; names?: string }>(publishers, shell, {
    usage: "trust <name>",
    summary: "trust a key, or change which names it may publish",
    description:
      "Lets a publisher's key sign versions of the artifacts --names tells. NAME names the key; " +
      "host:NAME and hosts change what a host, or every enrolled host without a rule of its own, " +
      "may publish with its own key. Naming one that is on the list trusts it again.",
    examples: [
      ["prestage publishers trust ci --key ci.key --names 'maps-*,tiles'", "a key of its own"],
      ["prestage publishers trust hosts --names 'logs-*'", "hosts publish only these"],
      ["prestage publishers trust host:build1 --names '*'", "but this one any"],
    ],
    setup: (command) => {
      command
        .option("--key <key>", "the public key as publisher-key prints it, or a key file")
        .option("--names <patterns>", "artifact names with commas; * stands for any text");
    },
    run: async (call, api) => {
      const { key, names } = call.options;
      const wish: PublisherTrust = {
        name: call.arg(0),
        publicKey: key === undefined ? null : await parseKey(key),
        names: names === undefined ? null : parseNames(names),
      };
      const list = await api.post<PublisherList>("publishers", wish);
      call.show(list, () => publishersText(list));
    },
  });
}

function parseNames(text: string): string[] {
  const names = text.split(",").map((name) => name.trim());
  const bad = names.find((name) => !NamePattern.safeParse(name).success);
  if (bad !== undefined)
    throw new PrestageError("USAGE", `--names ${bad}: an artifact name, * for any text`);
  return names;
}

/** The key itself, or a PEM file with its public or private part. */
async function parseKey(text: string): Promise<string> {
  if (PublicKey.safeParse(text).success) return text;
  let key: KeyObject;
  try {
    key = createPublicKey(await readFile(text, "utf8"));
  } catch (cause) {
    throw new PrestageError("USAGE", `--key ${text}: neither a public key nor a key file`, {
      cause,
    });
  }
  if (key.asymmetricKeyType === "ed25519") return publicKeyOf(key);
  throw new PrestageError("USAGE", `--key ${text}: no Ed25519 key`);
}

export function publishersText({ publishers }: PublisherList): string {
  return table(publishers, [
    { title: "PUBLISHER", value: (p) => p.name },
    { title: "TRUSTED", value: (p) => p.trusted },
    { title: "NAMES", value: (p) => p.names.join(",") },
    { title: "SIGNED", value: (p) => p.versions },
    { title: "KEY", value: (p) => p.publicKey ?? "of each enrolled host" },
    { title: "CHANGED", value: (p) => p.changedMs && `${time(p.changedMs)} by ${p.changedBy}` },
  ]);
}

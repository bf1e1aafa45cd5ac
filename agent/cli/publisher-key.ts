/** `prestage publisher-key`: a signing key of a publisher's own, which stays where it is made. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { open, readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { addCommand, type Shell } from "../../shared/cli/command.ts";
import { PrestageError } from "../../shared/errors.ts";
import { publicKeyOf, signBody } from "../../shared/manifest.ts";
import { PublisherName } from "../../shared/publishers.ts";

export function addPublisherKey(program: Command, shell: Shell, group: string): void {
  addCommand<{ output?: string }>(program, shell, {
    usage: "publisher-key <name>",
    group,
    summary: "a signing key of a publisher's own",
    description:
      "Makes an Ed25519 key in NAME.key (PEM, only for its owner) and prints its public part. " +
      "The fleet takes what it signs once an admin trusts it: prestage publishers trust. " +
      "`publish --key` signs with it here; the key itself goes nowhere.",
    examples: [
      ["prestage publisher-key ci", "makes ci.key"],
      ["prestage publish ./model --name llama --version 9 --key ci.key", "signs with it"],
    ],
    setup: (command) => {
      command.option("-o, --output <file>", "where to keep it (default: NAME.key)");
    },
    run: async (call) => {
      const name = call.arg(0);
      if (!PublisherName.safeParse(name).success || name.includes(":") || name === "hosts")
        throw new PrestageError("USAGE", `${name}: a key's name, 1–64 of a–z 0–9 . _ -`);
      const file = resolve(call.options.output ?? `${name}.key`);
      const { privateKey } = generateKeyPairSync("ed25519");
      await writeKey(file, privateKey);
      const publicKey = publicKeyOf(privateKey);
      call.show({ name, file, publicKey }, () => `${publicKey}\n`);
      if (!call.json && call.terminal.errIsTty)
        call.terminal.err(
          `kept in ${file}; an admin trusts it with\n` +
            `  prestage publishers trust ${name} --key ${publicKey} --names 'NAME-*'\n`,
        );
    },
  });
}

async function writeKey(file: string, key: KeyObject): Promise<void> {
  const handle = await open(file, "wx", 0o600).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "EEXIST")
      throw new PrestageError("CONFLICT", `${file} exists: it may be a key that is in use`, {
        remedy: "Choose another file with -o.",
      });
    throw new PrestageError("USAGE", `cannot write ${file}: ${cause.code}`, { cause });
  });
  try {
    await handle.writeFile(key.export({ type: "pkcs8", format: "pem" }));
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export type SigningKey = {
  publicKey: string;
  /** Signs a manifest that is of what was asked for; throws PROTOCOL when it is not. */
  sign(body: string, wish: { name: string; version: string | null }): string;
};

/** Throws CONFIG_INVALID for a file that others may read, USAGE for one that is no such key. */
export async function readKey(path: string): Promise<SigningKey> {
  const file = resolve(path);
  const found = await stat(file).catch((cause: NodeJS.ErrnoException) => {
    throw new PrestageError("USAGE", `--key ${file}: ${cause.code}`, { cause });
  });
  const mode = found.mode & 0o777;
  if ((mode & 0o077) !== 0)
    throw new PrestageError(
      "CONFIG_INVALID",
      `${file} is open to others (mode ${mode.toString(8)}): run chmod 600 ${file}`,
    );
  const key = parseKey(await readFile(file, "utf8"), file);
  return { publicKey: publicKeyOf(key), sign: (body, wish) => signChecked(body, wish, key) };
}

function parseKey(pem: string, file: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new PrestageError("USAGE", `${file} is no private key in PEM`, { cause });
  }
  if (key.asymmetricKeyType === "ed25519") return key;
  throw new PrestageError("USAGE", `${file} is no Ed25519 key`, {
    remedy: "Make one with `prestage publisher-key`.",
  });
}

function signChecked(
  body: string,
  wish: { name: string; version: string | null },
  key: KeyObject,
): string {
  const manifest = JSON.parse(body) as { name?: unknown; version?: unknown };
  if (manifest.name !== wish.name || (wish.version !== null && manifest.version !== wish.version))
    throw new PrestageError("PROTOCOL", "the agent asks to sign something else than was asked for");
  return signBody(body, key);
}

/**
 * Which coordinator the commands speak to, and as whom: a small file the coordinator writes at its
 * first start (`DATA/cli.json`, 0600) and an operator may copy.
 */
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { PrestageError } from "../../shared/errors.ts";
import type { Terminal } from "../../shared/runtime/terminal.ts";

export const CliContext = z.strictObject({
  url: z.url(),
  /** Relative to the context file's folder. */
  caFile: z.string().min(1),
  token: z.string().min(1),
});
export type CliContext = z.infer<typeof CliContext>;

export type Access = { url: string; ca: string; token: string };

/** `--context`, else PRESTAGE_CONTEXT, else where a coordinator of this user keeps its own. */
export function contextPath(option: string | undefined, terminal: Terminal): string {
  return (
    option ??
    terminal.env.PRESTAGE_CONTEXT ??
    join(terminal.home, ".prestage", "coordinator", "cli.json")
  );
}

export async function readAccess(path: string): Promise<Access> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new PrestageError("UNAUTHENTICATED", `cannot read the context file ${path}`, { cause });
  });
  const parsed = CliContext.safeParse(parseJson(text, path));
  if (!parsed.success)
    throw new PrestageError(
      "CONFIG_INVALID",
      `${path}: ${parsed.error.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join("; ")}`,
    );
  const { url, caFile, token } = parsed.data;
  const caPath = resolve(dirname(path), caFile);
  const ca = await readFile(caPath, "utf8").catch((cause: unknown) => {
    throw new PrestageError("CONFIG_INVALID", `${path}: cannot read its caFile ${caPath}`, {
      cause,
    });
  });
  return { url, ca, token };
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PrestageError("CONFIG_INVALID", `${path}: not JSON`, { cause });
  }
}

/**
 * YAML into a checked, frozen value: all problems at once, each with file, line and key. The only
 * importer of yaml.
 */
import { isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";
import { PrestageError } from "./errors.ts";

export type ConfigProblem = { file: string; line: number; key: string; message: string };

/**
 * The value that `text` describes, defaults filled in, frozen all the way down.
 * Throws CONFIG_INVALID with every problem in `details.problems`.
 */
export function readYaml<S extends z.ZodType>(text: string, file: string, schema: S): z.infer<S> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const lineAt = (offset: number) => lines.linePos(offset).line;
  const syntax = document.errors.map((e) => ({
    file,
    line: lineAt(e.pos[0]),
    key: "",
    message: e.message.split("\n")[0] ?? e.message,
  }));
  if (syntax.length > 0) throw invalid(syntax);

  const result = schema.safeParse(document.toJS() ?? {});
  if (result.success) return deepFreeze(result.data);

  const lineOf = (path: readonly PropertyKey[]): number => {
    for (let depth = path.length; depth > 0; depth--) {
      const parent =
        depth === 1 ? document.contents : document.getIn(path.slice(0, depth - 1), true);
      const last = path[depth - 1];
      if (isMap(parent)) {
        const pair = parent.items.find((p) => isScalar(p.key) && p.key.value === last);
        if (pair && isScalar(pair.key) && pair.key.range) return lineAt(pair.key.range[0]);
      }
      const node = document.getIn(path.slice(0, depth), true);
      if (isNode(node) && node.range) return lineAt(node.range[0]);
    }
    return 1;
  };
  throw invalid(result.error.issues.flatMap((issue) => problems(issue, file, lineOf)));
}

function problems(
  issue: z.core.$ZodIssue,
  file: string,
  lineOf: (path: readonly PropertyKey[]) => number,
): ConfigProblem[] {
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      return { file, line: lineOf(path), key: path.join("."), message: "unknown key" };
    });
  return [{ file, line: lineOf(issue.path), key: issue.path.join("."), message: issue.message }];
}

function invalid(found: ConfigProblem[]): PrestageError {
  const sorted = found.toSorted((a, b) => a.line - b.line || a.key.localeCompare(b.key));
  const text = sorted
    .map((p) => `${p.file}:${p.line}: ${p.key ? `${p.key}: ` : ""}${p.message}`)
    .join("\n");
  return new PrestageError("CONFIG_INVALID", text, { details: { problems: sorted } });
}

function deepFreeze<T>(value: T): T {
  if (value !== null && typeof value === "object") {
    for (const child of Object.values(value)) deepFreeze(child);
    Object.freeze(value);
  }
  return value;
}

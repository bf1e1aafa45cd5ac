/** The local agent's API as the commands use it: HTTP over its Unix socket, answers line by line. */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ERRORS, type ErrorCode, PrestageError } from "../../shared/errors.ts";
import type { Terminal } from "../../shared/runtime/terminal.ts";

type Refusal = { code: string; message: string; remedy?: string };
type Line<T> = {
  bytesDone?: number;
  bytes?: number;
  result?: T;
  sign?: { id: string; body: string };
  error?: Refusal;
};

/** `--data`, else PRESTAGE_DATA, else where an agent of this user keeps its own. */
export function agentDataDir(option: string | undefined, terminal: Terminal): string {
  return option ?? terminal.env.PRESTAGE_DATA ?? join(terminal.home, ".prestage", "agent");
}

/** One operation of the agent whose data is in `dataDir`; `progress` is called as it goes on. */
export async function callAgent<T>(
  dataDir: string,
  operation: { method: "GET" | "POST"; path: string; body?: unknown },
  options: {
    signal: AbortSignal;
    progress?: (bytesDone: number, bytes: number) => void;
    /** Signs what the agent cut, base64url; throws to refuse. */
    sign?: ((body: string) => string) | undefined;
  },
): Promise<T> {
  const answer = await open(dataDir, operation, options.signal);
  const lines = createInterface({ input: answer, crlfDelay: Number.POSITIVE_INFINITY });
  for await (const text of lines) {
    const line = parse<T>(text);
    if (line.error) throw refusal(line.error);
    if ("result" in line) return line.result as T;
    if (line.sign && options.sign) {
      const body = { id: line.sign.id, signature: options.sign(line.sign.body) };
      await callAgent(dataDir, { method: "POST", path: "/signature", body }, options);
      continue;
    }
    options.progress?.(line.bytesDone ?? 0, line.bytes ?? 0);
  }
  options.signal.throwIfAborted();
  throw new PrestageError("UNREACHABLE", "the agent stopped before it was done");
}

function open(
  dataDir: string,
  { method, path, body }: { method: string; path: string; body?: unknown },
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const socketPath = join(dataDir, "agent.sock");
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json" };
    const request = httpRequest({ socketPath, path, method, headers, signal }, resolve);
    request.on("error", (cause) => {
      reject(signal.aborted ? signal.reason : noAgent(socketPath, cause));
    });
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function noAgent(socketPath: string, cause: NodeJS.ErrnoException): PrestageError {
  const message =
    cause.code === "EACCES"
      ? `may not open ${socketPath}: run it as the agent's user`
      : `no agent answers at ${socketPath}: is it running, and is --data its folder?`;
  return new PrestageError("UNREACHABLE", message, { cause });
}

function parse<T>(text: string): Line<T> {
  try {
    return JSON.parse(text) as Line<T>;
  } catch (cause) {
    throw new PrestageError("PROTOCOL", "the agent answered something that is not JSON", { cause });
  }
}

function refusal({ code: told, message, remedy }: Refusal): PrestageError {
  const code = told in ERRORS ? (told as ErrorCode) : "UNAVAILABLE";
  return new PrestageError(code, message, remedy === undefined ? {} : { remedy });
}

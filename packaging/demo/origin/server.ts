/** An HTTP origin: files of a folder, whole or by range, over a limited uplink. */

import { once } from "node:events";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join, normalize, sep } from "node:path";
import type { Clock } from "../../../shared/runtime/clock.ts";
import { Uplink } from "./uplink.ts";

export const STATS_PATH = "/_stats";
export type OriginStats = { requests: number; bytes: number };

/** Small enough that a large file does not hold the link while small ones wait. */
const SLICE_BYTES = 64 << 10;

export function originServer(
  deps: { clock: Clock },
  options: { root: string; bytesPerSecond: number },
): Server {
  const uplink = new Uplink(options.bytesPerSecond);
  const stats: OriginStats = { requests: 0, bytes: 0 };
  return createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", "http://origin");
    if (pathname === STATS_PATH) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(stats));
      return;
    }
    stats.requests++;
    const path = join(options.root, normalize(decodeURIComponent(pathname)));
    const file = path.startsWith(options.root + sep) ? await fileSize(path) : null;
    if (file === null) return void response.writeHead(404).end();
    const range = parseRange(request.headers.range, file);
    if (range === "unsatisfiable")
      return void response.writeHead(416, { "content-range": `bytes */${file}` }).end();
    const { from, to } = range ?? { from: 0, to: file - 1 };
    response.writeHead(range ? 206 : 200, {
      "accept-ranges": "bytes",
      "content-length": to - from + 1,
      ...(range && { "content-range": `bytes ${from}-${to}/${file}` }),
    });
    if (request.method === "HEAD" || file === 0) return void response.end();
    await send(response, path, from, to);
  }

  async function send(
    response: ServerResponse,
    path: string,
    from: number,
    to: number,
  ): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const file = createReadStream(path, { start: from, end: to, highWaterMark: SLICE_BYTES });
    for await (const slice of file) {
      const waitMs = uplink.take(slice.length, deps.clock.monotonic());
      if (waitMs > 1) await deps.clock.sleep(waitMs, { signal: gone.signal });
      stats.bytes += slice.length;
      if (!response.write(slice)) await once(response, "drain", { signal: gone.signal });
    }
    response.end();
  }
}

async function fileSize(path: string): Promise<number | null> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : null;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw cause;
  }
}

/** A single range, both ends included; null when none was asked for (or several, or not bytes). */
export function parseRange(
  header: string | undefined,
  size: number,
): { from: number; to: number } | "unsatisfiable" | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return null;
  if (match[1] === "") {
    const last = Number(match[2]);
    return last === 0 || size === 0
      ? "unsatisfiable"
      : { from: Math.max(0, size - last), to: size - 1 };
  }
  const from = Number(match[1]);
  const to = match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (from >= size) return "unsatisfiable";
  return to < from ? null : { from, to };
}

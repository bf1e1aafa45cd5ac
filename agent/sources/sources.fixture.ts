/** Sources and small web servers for tests. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../shared/runtime/clock.ts";
import { createLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { SourceLimits, SourceSettings } from "./settings.ts";
import type { Snapshot } from "./source.ts";
import { Sources } from "./sources.ts";

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export function testSources({
  settings = [],
  secrets = {},
  cacheDir = join(tmpdir(), "prestage-no-cache"),
  limits = {},
  slept = [],
}: {
  settings?: unknown[];
  secrets?: Record<string, string>;
  cacheDir?: string;
  limits?: Partial<SourceLimits>;
  /** Gets what would have been waited for between attempts. */
  slept?: number[];
} = {}): Sources {
  // No waiting between attempts: the clock's sleep returns at once.
  const clock = {
    ...systemClock,
    sleep: async (ms: number) => {
      slept.push(ms);
    },
  };
  const log = createLog({ name: "sources", level: "silent" });
  return new Sources(
    {
      clock,
      random: seededRandom(1),
      log,
      metrics: new Metrics(),
      environment: { PATH: "/usr/bin:/bin" },
      secret: (name) => secrets[name],
    },
    {
      settings: SourceSettings.array().parse(settings),
      limits: SourceLimits.parse(limits),
      cacheDir,
      fleet: { url: "https://127.0.0.1:1", tls: () => ({ ca: "", cert: "", key: "" }) },
    },
  );
}

/** A web server of the test's own, whose handler may be replaced. */
export async function webServer(first: Handler = (_, r) => void r.end()) {
  const requests: IncomingMessage[] = [];
  const sockets = new Set<unknown>();
  const state = { handler: first };
  const server = createServer((request, response) => {
    requests.push(request);
    sockets.add(request.socket);
    state.handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    state,
    requests,
    sockets,
    port,
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Serves `content` under every path, with ranges. */
export function ranged(content: Buffer): Handler {
  return (request, response) => {
    const [, from, to] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? "") ?? [];
    if (from === undefined) return void response.end(content);
    const start = Number(from);
    const end = to === "" ? content.length - 1 : Number(to);
    response.writeHead(206, { "content-range": `bytes ${start}-${end}/${content.length}` });
    response.end(content.subarray(start, end + 1));
  };
}

/** Everything of a snapshot, by path. */
export async function readAll(
  snapshot: Snapshot,
  signal = new AbortController().signal,
): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for await (const file of snapshot.files) {
    const pieces: Uint8Array[] = [];
    for await (const piece of file.read({ signal })) pieces.push(Uint8Array.from(piece));
    files.set(file.path, Buffer.concat(pieces));
  }
  return files;
}

/** One WebSocket upgrade: routed like a request, but tried once, for its bytes cannot be repeated. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { HostId, RouteEntry } from "../../shared/domain.ts";
import type { Workload } from "../../shared/workload.ts";
import { type ExchangeDeps, HOP_HEADER } from "./exchange.ts";
import {
  type Found,
  foundHeaders,
  HOP_HEADERS,
  outcomeKind,
  outcomeOf,
  readFound,
} from "./outcomes.ts";
import { chooseTarget } from "./route.ts";

export type UpgradeRequest = {
  request: IncomingMessage;
  socket: Duplex;
  head: Buffer;
  workload: Workload;
  category: string;
  entry: RouteEntry | undefined;
  hop: boolean;
  arrivedMs: number;
};

const UNAVAILABLE =
  "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

export class Upgrade {
  readonly #deps: ExchangeDeps;
  readonly #x: UpgradeRequest;
  readonly #atMs: number;
  #answered = false;

  constructor(deps: ExchangeDeps, x: UpgradeRequest) {
    this.#deps = deps;
    this.#x = x;
    this.#atMs = deps.demandClock.now();
  }

  /** Resolves when the connection is over. Throws when it could not be made; that is answered. */
  async run(): Promise<void> {
    try {
      await this.#serve();
    } catch (cause) {
      if (!this.#answered) {
        if (!this.#x.hop) this.#record(503, null, this.#deps.self);
        this.#x.socket.end(UNAVAILABLE);
      }
      throw cause;
    }
  }

  async #serve(): Promise<void> {
    const { workload, category, entry, hop } = this.#x;
    const { pool, self, routerUrl } = this.#deps;
    const target = chooseTarget({
      self,
      entry: hop ? undefined : entry,
      readyHere: pool.ready(workload.name, category),
      makingHere: pool.making(workload.name, category),
      tried: new Set(),
      triesLeft: 1,
      reachable: (host) => routerUrl(host) !== null,
    });
    if (target.kind === "there") await this.#there(target.host);
    else await this.#here();
  }

  async #here(): Promise<void> {
    const { request, socket, head, workload, category, hop } = this.#x;
    const leaving = new AbortController();
    const leave = () => leaving.abort(new Error("the client is gone"));
    socket.once("close", leave);
    const acquired = await this.#deps.pool.acquire(workload, category, { signal: leaving.signal });
    const found: Found = { ...acquired, ...acquired.environment, kind: outcomeKind(acquired.kind) };
    try {
      await this.#deps.forwarder.upgrade(request, socket, head, {
        target: `http://127.0.0.1:${acquired.environment.port}`,
        headers: {},
        onHead: (answer) => {
          this.#answered = true;
          if (hop) for (const [name, value] of foundHeaders(found)) answer.headers[name] = value;
          else this.#record(answer.statusCode ?? 502, found, this.#deps.self);
        },
      });
    } finally {
      acquired.release();
    }
  }

  async #there(host: HostId): Promise<void> {
    const { request, socket, head } = this.#x;
    await this.#deps.forwarder.upgrade(request, socket, head, {
      target: this.#deps.routerUrl(host) ?? "",
      headers: { [HOP_HEADER]: "1" },
      onHead: (answer) => {
        this.#answered = true;
        const found = readFound((name) => answer.headers[name]?.toString());
        for (const name of Object.values(HOP_HEADERS)) delete answer.headers[name];
        this.#record(answer.statusCode ?? 502, found, host);
      },
    });
  }

  #record(status: number, found: Found | null, host: HostId): void {
    const { workload, category, arrivedMs } = this.#x;
    this.#deps.onOutcome(
      outcomeOf({
        workload: workload.name,
        category,
        host,
        atMs: this.#atMs,
        firstByteMs: Math.max(0, this.#deps.clock.monotonic() - arrivedMs),
        status,
        found,
      }),
    );
  }
}

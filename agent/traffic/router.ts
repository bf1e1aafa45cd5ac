/**
 * The HTTP router of one host: maps a request to its workload and category, has it served by the
 * nearest proven environment (or one made for it), and records demand and outcome where the request
 * entered. It works from the last routes, members and workloads it was given, with or without a
 * coordinator.
 */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import {
  categoryKey,
  type HostId,
  type Member,
  type Outcome,
  type RouteEntry,
  type RouteTable,
} from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { hostName, type Match, Matcher } from "../../shared/match.ts";
import { assert } from "../../shared/runtime/assert.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Metrics } from "../../shared/runtime/metrics.ts";
import type { Workload } from "../../shared/workload.ts";
import { answerError } from "./answers.ts";
import { Exchange, type ExchangeDeps, HOP_HEADER, type RouterPool } from "./exchange.ts";
import { Forwarder, stripHopByHop } from "./forward.ts";
import { RouterMetrics } from "./router-metrics.ts";
import { SHADOW_HEADER } from "./shadow.ts";
import { Upgrade } from "./upgrade.ts";

export type RouterDeps = {
  clock: Clock;
  demandClock: Clock;
  log: Log;
  metrics: Metrics;
  pool: RouterPool;
  self: HostId;
  members(): readonly Member[];
  onDemand(workload: string, category: string, atMs: number): void;
  onOutcome(outcome: Outcome): void;
};

export type RouterOptions = {
  host: string;
  /** 0 = any free one; see `address()`. */
  port: number;
  /** Requests in progress; more are answered 503. Higher takes more memory. Default 4096. */
  requestsMax?: number;
  /** How long a request may wait for an environment. Default 300 s. */
  waitMsMax?: number;
  /** Silence of an environment after which its request fails. Default 300 s. */
  idleMs?: number;
  /** How long a host that does not answer at all may hold a request up. Default 1 s. */
  connectMs?: number;
  /** At stop: how long requests in progress may go on. Default 5 s. */
  drainMs?: number;
};

export class Router {
  readonly #deps: RouterDeps;
  readonly #options: Required<RouterOptions>;
  readonly #server: Server;
  readonly #forwarder: Forwarder;
  readonly #metrics: RouterMetrics;
  readonly #exchangeDeps: ExchangeDeps;
  readonly #listening = Promise.withResolvers<void>();
  #matcher = new Matcher([]);
  #entries: ReadonlyMap<string, RouteEntry> = new Map();
  #urls: { of: readonly Member[]; byHost: Map<HostId, string> } | null = null;
  #inProgress = 0;

  constructor(deps: RouterDeps, options: RouterOptions) {
    this.#deps = deps;
    this.#options = {
      requestsMax: 4096,
      waitMsMax: 300_000,
      idleMs: 300_000,
      connectMs: 1000,
      drainMs: 5000,
      ...options,
    };
    this.#forwarder = new Forwarder(deps.clock, this.#options);
    this.#metrics = new RouterMetrics(deps.metrics, () => this.#inProgress);
    this.#exchangeDeps = {
      ...deps,
      forwarder: this.#forwarder,
      routerUrl: (host) => this.#routerUrl(host),
      onOutcome: (outcome) => {
        this.#metrics.outcome(outcome);
        deps.onOutcome(outcome);
      },
    };
    const limits = { headersTimeout: 15_000, requestTimeout: 0, keepAliveTimeout: 65_000 };
    const listener: RequestListener = (request, response) => {
      this.#limited(request, response);
    };
    this.#server = createServer(limits, listener);
    // A client that neither sends nor takes anything is let go.
    this.#server.timeout = this.#options.waitMsMax + this.#options.idleMs;
    this.#server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    // Its failures are counted per request; this one would only be thrown at the process.
    this.#listening.promise.catch((cause: unknown) =>
      deps.log.error({ err: cause }, "router cannot listen"),
    );
  }

  /** Resolves when it accepts requests. */
  get started(): Promise<void> {
    return this.#listening.promise;
  }

  address(): AddressInfo {
    const address = this.#server.address();
    assert(address !== null && typeof address !== "string", "the router listens");
    return address;
  }

  setRoutes(table: RouteTable): void {
    this.#entries = new Map(table.entries.map((e) => [categoryKey(e.workload, e.category), e]));
  }

  setWorkloads(workloads: readonly Workload[]): void {
    this.#matcher = new Matcher(workloads);
  }

  /** Serves until the signal aborts; then ends what is in progress within `drainMs`. */
  async run(signal: AbortSignal): Promise<void> {
    const { host, port, drainMs } = this.#options;
    this.#server.once("error", this.#listening.reject);
    this.#server.listen(port, host, () => this.#listening.resolve());
    await this.#listening.promise;
    const { promise: stopped, resolve } = Promise.withResolvers<void>();
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
    await stopped;
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => closed.resolve());
    const cut = this.#deps.clock.after(drainMs, () => this.#server.closeAllConnections());
    await closed.promise;
    cut();
    this.#forwarder.close();
  }

  /** Counts what is in progress and refuses what is too much. */
  #limited(request: IncomingMessage, response: ServerResponse): void {
    if (this.#inProgress >= this.#options.requestsMax) {
      this.#metrics.refused();
      const message = "too many requests are in progress";
      answerError(response, new PrestageError("UNAVAILABLE", message));
      return;
    }
    this.#inProgress++;
    const done = () => {
      this.#inProgress--;
    };
    this.#serve(request, response).then(done, (cause: unknown) => {
      done();
      this.#deps.log.error({ err: cause }, "request failed in the router");
      response.destroy();
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { clock } = this.#deps;
    const arrivedMs = clock.monotonic();
    const { match, hop } = this.#enter(request);
    if (!match) {
      answerError(response, unknownWorkload(request), {
        gone: hop,
        remedy: "Declare it with `prestage apply -f workloads.yaml`; its match: must fit.",
      });
      return;
    }
    const leaving = new AbortController();
    const { waitMsMax } = this.#options;
    const cancel = clock.after(waitMsMax, () =>
      leaving.abort(new PrestageError("TIMEOUT", `no environment within ${waitMsMax} ms`)),
    );
    response.once("close", () => {
      if (!response.writableFinished) leaving.abort(new Error("the client is gone"));
    });
    const exchange = new Exchange(this.#exchangeDeps, {
      request,
      response,
      ...match,
      entry: this.#entries.get(categoryKey(match.workload.name, match.category)),
      hop,
      arrivedMs,
      signal: leaving.signal,
    });
    const status = await exchange.run();
    cancel();
    this.#metrics.served(status, clock.monotonic() - arrivedMs);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const arrivedMs = this.#deps.clock.monotonic();
    const upgrade = request.headers.upgrade;
    const { match, hop } = this.#enter(request);
    socket.on("error", (cause) => this.#deps.log.debug({ err: cause }, "upgraded socket broke"));
    if (!match || upgrade?.toLowerCase() !== "websocket") {
      socket.end("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
      return;
    }
    request.headers.connection = "upgrade";
    request.headers.upgrade = upgrade;
    const entry = this.#entries.get(categoryKey(match.workload.name, match.category));
    const one = new Upgrade(this.#exchangeDeps, {
      request,
      socket,
      head,
      ...match,
      entry,
      hop,
      arrivedMs,
    });
    one.run().catch((cause: unknown) => {
      this.#deps.log.debug({ err: cause }, "upgrade failed");
    });
  }

  /** Takes off what only this hop or only Prestage may say; counts demand where it entered. */
  #enter(request: IncomingMessage): { match: Match | null; hop: boolean } {
    const { headers } = request;
    const hop = headers[HOP_HEADER] !== undefined;
    if (hop) delete headers[HOP_HEADER];
    if (headers[SHADOW_HEADER] !== undefined) delete headers[SHADOW_HEADER];
    stripHopByHop(headers);
    const match = this.#matcher.match({
      url: request.url ?? "/",
      host: hostName(headers.host),
      header: (name) => headers[name]?.toString(),
    });
    if (match && !hop) {
      const { onDemand, demandClock } = this.#deps;
      onDemand(match.workload.name, match.category, demandClock.now());
    }
    return { match, hop };
  }

  #routerUrl(host: HostId): string | null {
    const members = this.#deps.members();
    if (this.#urls?.of !== members) {
      const byHost = new Map<HostId, string>();
      for (const { host: name, routerUrl } of members) if (routerUrl) byHost.set(name, routerUrl);
      this.#urls = { of: members, byHost };
    }
    return this.#urls.byHost.get(host) ?? null;
  }
}

function unknownWorkload(request: IncomingMessage): PrestageError {
  const path = (request.url ?? "/").split("?")[0]?.slice(0, 200);
  return new PrestageError("NOT_FOUND", `no workload matches ${request.headers.host ?? ""}${path}`);
}

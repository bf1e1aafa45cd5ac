/**
 * One routed request from arrival to the end of its answer: tries targets in turn, and notes once
 * what it found and when its first byte went out.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { HostId, Outcome, RouteEntry } from "../../shared/domain.ts";
import { ERRORS, PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Workload } from "../../shared/workload.ts";
import { answerError, asPrestageError, GONE_HEADER } from "./answers.ts";
import { RequestBody } from "./body.ts";
import type { Forwarder, ForwardResult } from "./forward.ts";
import {
  type Found,
  foundHeaders,
  HOP_HEADERS,
  outcomeKind,
  outcomeOf,
  readFound,
} from "./outcomes.ts";
import { chooseTarget, type Target } from "./route.ts";

/** What the router needs of the warm pool. */
export type RouterPool = {
  acquire(
    workload: Workload,
    category: string,
    options: { signal?: AbortSignal },
  ): Promise<{
    kind: "warm" | "late" | "made";
    environment: { id: string; port: number; orderId: string | null };
    waitedMs: number;
    memoryByteMs: number;
    release(failed?: boolean): void;
  }>;
  ready(workload: string, category: string): boolean;
  making(workload: string, category: string): boolean;
};

export type ExchangeDeps = {
  clock: Clock;
  demandClock: Clock;
  self: HostId;
  pool: RouterPool;
  forwarder: Forwarder;
  routerUrl(host: HostId): string | null;
  onOutcome(outcome: Outcome): void;
};

export const HOP_HEADER = "prestage-hop";
const HOSTS_TRIED_MAX = 2;
const LOCAL_TRIES_MAX = 2;

export type ExchangeRequest = {
  request: IncomingMessage;
  response: ServerResponse;
  workload: Workload;
  category: string;
  entry: RouteEntry | undefined;
  /** Another router sent it: it is served here or not at all, and recorded there. */
  hop: boolean;
  arrivedMs: number;
  /** Aborts when the client goes, or the request took too long. */
  signal: AbortSignal;
};

export class Exchange {
  readonly #deps: ExchangeDeps;
  readonly #x: ExchangeRequest;
  readonly #body: RequestBody;
  readonly #atMs: number;
  readonly #tried = new Set<HostId>();
  #hostsTried = 0;
  #localTries = 0;
  #recorded = false;
  #begun = false;
  #failure: PrestageError | null = null;

  constructor(deps: ExchangeDeps, x: ExchangeRequest) {
    this.#deps = deps;
    this.#x = x;
    this.#body = new RequestBody(x.request);
    this.#atMs = deps.demandClock.now();
  }

  /** Serves the request; does not throw. Gives the status that was sent (499 = client gone). */
  async run(): Promise<number> {
    try {
      for (;;) {
        const target = this.#next();
        if (target.kind === "nowhere") break;
        const result = target.kind === "here" ? await this.#here() : await this.#there(target.host);
        if (result.kind === "answered") return this.#x.response.statusCode;
        if (result.kind === "client-gone") return this.#abandoned();
        if (result.kind === "failed" && !this.#body.mayRepeat(result)) break;
        if (result.kind === "withheld" && !this.#body.mayRepeat({ unsent: true })) break;
      }
      return this.#fail(this.#failure);
    } catch (cause) {
      const { signal } = this.#x;
      const reason = signal.aborted ? signal.reason : cause;
      if (this.#x.response.destroyed) return this.#abandoned();
      return this.#fail(asPrestageError(reason));
    }
  }

  #next(): Target {
    const { workload, category, entry, hop } = this.#x;
    const { pool, self, routerUrl } = this.#deps;
    const { name } = workload;
    return chooseTarget({
      self,
      entry: hop ? undefined : entry,
      readyHere: pool.ready(name, category),
      makingHere: pool.making(name, category),
      tried: this.#tried,
      triesLeft: HOSTS_TRIED_MAX - this.#hostsTried,
      reachable: (host) => routerUrl(host) !== null,
    });
  }

  async #here(): Promise<ForwardResult> {
    const { request, response, workload, category, signal } = this.#x;
    const { pool, forwarder, self } = this.#deps;
    if (++this.#localTries >= LOCAL_TRIES_MAX) this.#tried.add(self);
    let acquired: Awaited<ReturnType<RouterPool["acquire"]>>;
    try {
      acquired = await pool.acquire(workload, category, { signal });
    } catch (cause) {
      if (signal.aborted) throw cause;
      this.#tried.add(self);
      this.#failure = asPrestageError(cause);
      return { kind: "failed", cause: this.#failure, unsent: true };
    }
    const found: Found = { ...acquired, ...acquired.environment, kind: outcomeKind(acquired.kind) };
    let result: ForwardResult | null = null;
    try {
      await this.#body.load();
      this.#begun = true;
      result = await forwarder.forward(request, response, {
        target: `http://127.0.0.1:${acquired.environment.port}`,
        headers: {},
        body: this.#body.source(),
        onHead: (answer) => {
          this.#answering(answer.statusCode ?? 502, found, self);
          return "send";
        },
      });
    } finally {
      acquired.release(result?.kind === "failed");
    }
    if (result.kind === "failed")
      this.#failure = new PrestageError("ENVIRONMENT_FAILED", "the environment did not answer", {
        cause: result.cause,
        details: { workload: workload.name, category, why: result.cause.message },
      });
    return result;
  }

  async #there(host: HostId): Promise<ForwardResult> {
    const { request, response } = this.#x;
    const target = this.#deps.routerUrl(host);
    this.#tried.add(host);
    this.#hostsTried++;
    if (target === null) return { kind: "withheld" };
    await this.#body.load();
    const result = await this.#deps.forwarder.forward(request, response, {
      target,
      headers: { [HOP_HEADER]: "1" },
      body: this.#body.source(),
      onHead: (answer) => {
        const header = (name: string) => answer.headers[name]?.toString();
        if (answer.statusCode === 503 && header(GONE_HEADER) !== undefined) return "withhold";
        const found = readFound(header);
        for (const name of Object.values(HOP_HEADERS)) delete answer.headers[name];
        this.#answering(answer.statusCode ?? 502, found, host);
        return "send";
      },
    });
    if (result.kind === "failed" || result.kind === "withheld")
      this.#failure = new PrestageError("UNAVAILABLE", `host ${host} could not serve the request`, {
        cause: result.kind === "failed" ? result.cause : undefined,
        details: { host },
      });
    return result;
  }

  /** The answer's head is about to go out. */
  #answering(status: number, found: Found | null, host: HostId): void {
    const { response, hop } = this.#x;
    if (hop && found) {
      for (const [name, value] of foundHeaders(found)) response.setHeader(name, value);
      return;
    }
    const outcome = this.#record(status, found, host);
    if (!outcome) return;
    response.setHeader(HOP_HEADERS.outcome, outcome.kind);
    response.setHeader(
      "server-timing",
      `prestage;desc=${outcome.kind};dur=${outcome.waitedMs.toFixed(1)}`,
    );
  }

  #record(status: number, found: Found | null, host: HostId): Outcome | null {
    if (this.#recorded || this.#x.hop) return null;
    this.#recorded = true;
    const { workload, category, arrivedMs } = this.#x;
    const firstByteMs = Math.max(0, this.#deps.clock.monotonic() - arrivedMs);
    const outcome = outcomeOf({
      workload: workload.name,
      category,
      host,
      atMs: this.#atMs,
      firstByteMs,
      status,
      found,
    });
    this.#deps.onOutcome(outcome);
    return outcome;
  }

  #fail(failure: PrestageError | null): number {
    const { response, hop, workload, category } = this.#x;
    const error =
      failure ??
      new PrestageError("UNAVAILABLE", "no host can serve this request now", {
        details: { workload: workload.name, category },
      });
    // Another router may try elsewhere, as long as no environment here saw the request.
    const gone = hop && !this.#begun;
    const status = gone ? 503 : ERRORS[error.code].http;
    if (hop) answerError(response, error, { gone });
    else {
      this.#answering(status, null, this.#deps.self);
      answerError(response, error);
    }
    return status;
  }

  #abandoned(): number {
    this.#record(499, null, this.#deps.self);
    return 499;
  }
}

/**
 * Keeps the host's certificate fresh: renewed at half of its life ±10 %, so that a fleet that
 * joined together does not renew together, and a coordinator may be gone for half a day unnoticed.
 */
import { X509Certificate } from "node:crypto";
import { Enrolled } from "../../shared/api.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Metrics } from "../../shared/runtime/metrics.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { backoffMs } from "../../shared/runtime/retry.ts";
import { requestJson } from "./https-json.ts";
import type { Identity } from "./identity.ts";

/** Long waits are cut, so that a machine that slept or whose clock was set notices. */
const NAP_MS = 600_000;
const RETRY_MS_MAX = 15 * 60_000;

export class Renewal {
  readonly #deps: { clock: Clock; random: Random; log: Log };
  readonly #identity: Identity;
  readonly #url: URL;
  readonly #expiry;

  constructor(
    deps: {
      clock: Clock;
      random: Random;
      log: Log;
      metrics: Metrics;
      /** Gets the new certificates. */
      identity: Identity;
    },
    options: { coordinatorUrl: string },
  ) {
    this.#deps = deps;
    this.#identity = deps.identity;
    this.#url = new URL("/api/v1/renew", options.coordinatorUrl);
    this.#expiry = deps.metrics.gauge({
      name: "prestage_trust_certificate_expiry_seconds",
      help: "When the host's certificate ends, seconds since the epoch.",
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#deps;
    let dueMs = this.#dueMs();
    let failures = 0;
    while (!signal.aborted) {
      try {
        const waitMs = dueMs - clock.now();
        if (waitMs > 0) {
          await clock.sleep(Math.min(waitMs, NAP_MS), { signal });
          continue;
        }
        await this.renew({ signal });
        failures = 0;
        dueMs = this.#dueMs();
      } catch (cause) {
        if (signal.aborted) return;
        const code = cause instanceof PrestageError ? cause.code : "UNREACHABLE";
        const fields = { err: cause, code };
        if (code === "REVOKED" || code === "FORBIDDEN")
          log.error(fields, "certificate was not renewed: join again with a new token");
        else log.warn(fields, "certificate was not renewed yet");
        const retryMs = backoffMs(failures++, random, { baseMs: 5_000, maxMs: RETRY_MS_MAX });
        dueMs = clock.now() + retryMs;
      }
    }
  }

  /** Renews now. Throws REVOKED, UNREACHABLE … */
  async renew({ signal }: { signal: AbortSignal }): Promise<void> {
    const { ca, cert, key } = this.#identity.linkTls();
    const given = await requestJson(
      {
        url: this.#url,
        method: "POST",
        body: {},
        ca,
        client: { key, cert },
        signal,
      },
      Enrolled,
    );
    this.#identity.replaceCertificate(given.certPem);
    this.#deps.log.info({ host: given.host }, "certificate renewed");
  }

  #dueMs(): number {
    const { validFromDate, validToDate } = new X509Certificate(this.#identity.certPem);
    this.#expiry.set(validToDate.getTime() / 1000);
    return renewalDueMs(validFromDate.getTime(), validToDate.getTime(), this.#deps.random);
  }
}

/** Half-life, moved by up to ±10 % of the whole life. */
export function renewalDueMs(fromMs: number, toMs: number, random: Random): number {
  return fromMs + (toMs - fromMs) * (0.5 + (random.next() - 0.5) * 0.2);
}

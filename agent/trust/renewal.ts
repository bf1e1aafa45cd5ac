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
import { type Identity, loadIdentity, saveCertificate } from "./identity.ts";

/** Long waits are cut, so that a machine that slept or whose clock was set notices. */
const NAP_MS = 600_000;
const RETRY_MS_MAX = 15 * 60_000;

export class Renewal {
  readonly #deps: { clock: Clock; random: Random; log: Log };
  readonly #dir: string;
  readonly #url: URL;
  readonly #onRenewed: (identity: Identity) => void;
  readonly #expiry;

  constructor(
    deps: {
      clock: Clock;
      random: Random;
      log: Log;
      metrics: Metrics;
      /** The next connections have to use this. */
      onRenewed: (identity: Identity) => void;
    },
    options: { dir: string; coordinatorUrl: string },
  ) {
    this.#deps = deps;
    this.#onRenewed = deps.onRenewed;
    this.#dir = options.dir;
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
    const { privateKey, certPem, caPem } = loadIdentity(this.#dir);
    if (!certPem || !caPem)
      throw new PrestageError("UNAUTHENTICATED", "this host has not joined yet: prestage join");
    const given = await requestJson(
      {
        url: this.#url,
        method: "POST",
        body: {},
        ca: caPem,
        client: { key: privateKey.pem, cert: certPem },
        signal,
      },
      Enrolled,
    );
    saveCertificate(this.#dir, given.certPem);
    this.#onRenewed(loadIdentity(this.#dir));
    this.#deps.log.info({ host: given.host }, "certificate renewed");
  }

  #dueMs(): number {
    const { certPem } = loadIdentity(this.#dir);
    if (!certPem) return this.#deps.clock.now();
    const { validFromDate, validToDate } = new X509Certificate(certPem);
    this.#expiry.set(validToDate.getTime() / 1000);
    return renewalDueMs(validFromDate.getTime(), validToDate.getTime(), this.#deps.random);
  }
}

/** Half-life, moved by up to ±10 % of the whole life. */
export function renewalDueMs(fromMs: number, toMs: number, random: Random): number {
  return fromMs + (toMs - fromMs) * (0.5 + (random.next() - 0.5) * 0.2);
}

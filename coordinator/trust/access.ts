/** API tokens of people and programs: named, with a role, expiring, stored only as hashes. */
import type { ApiTokenList, Role } from "../../shared/api.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { AuditTrail } from "./audit.ts";
import type { ApiTokenRecord, TrustStore } from "./records.ts";
import { newApiToken, parseApiToken, sameHash } from "./tokens.ts";

export const FIRST_ADMIN = "first-admin";
const TOUCH_EVERY_MS = 60_000;
type By = { name: string; address: string };

export class Access {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #store: TrustStore;
  readonly #audit: AuditTrail;
  readonly #touching = new Set<Promise<void>>();

  constructor(deps: { clock: Clock; log: Log; store: TrustStore; audit: AuditTrail }) {
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#store = deps.store;
    this.#audit = deps.audit;
  }

  /** Whose token this is, by what is stored now; null for unknown, revoked and expired ones. */
  authenticate(bearer: string): { name: string; role: Role } | null {
    const token = parseApiToken(bearer);
    const row = token && this.#store.identities.apiToken(token.id);
    if (!row || !sameHash(row.secretHash, token.secretHash)) return null;
    const nowMs = Math.round(this.#clock.now());
    if (row.expiresMs !== null && row.expiresMs <= nowMs) return null;
    if (nowMs - (row.lastUsedMs ?? 0) >= TOUCH_EVERY_MS) this.#touch(row.id, nowMs);
    return { name: row.name, role: row.role as Role };
  }

  /** Makes a token; its text is given here and nowhere else. Throws CONFLICT for a taken name. */
  create(
    { name, role, ttlMs }: { name: string; role: Role; ttlMs: number | null },
    by: By,
  ): Promise<{ token: string; expiresMs: number | null }> {
    return this.#store.commit(() => {
      if (this.#store.identities.apiTokens().some((row) => row.name === name))
        throw new PrestageError("CONFLICT", `a token named ${name} exists: choose another name`);
      return this.#insert({ name, role, ttlMs }, by);
    });
  }

  list(): ApiTokenList["tokens"] {
    return this.#store.identities
      .apiTokens()
      .map(({ name, role, createdMs, expiresMs, lastUsedMs }: ApiTokenRecord) => ({
        name,
        role: role as Role,
        createdMs,
        expiresMs,
        lastUsedMs,
      }));
  }

  /** Throws NOT_FOUND; refuses to take away the last admin token that does not expire. */
  revoke(name: string, by: By): Promise<void> {
    return this.#store.commit(() => {
      const rows = this.#store.identities.apiTokens();
      if (!rows.some((row) => row.name === name))
        throw new PrestageError("NOT_FOUND", `no token is named ${name}`);
      if (!rows.some((row) => row.name !== name && row.role === "admin" && row.expiresMs === null))
        throw new PrestageError(
          "CONFLICT",
          `${name} is the last lasting admin token: make another first`,
        );
      this.#store.identities.deleteApiToken(name);
      this.#append("api-token.revoke", name, by, {});
    });
  }

  /**
   * The token for the coordinator's own machine: given once, at first start, else null. With
   * `lost` (the file it stood in is gone) the old one is revoked and a new one given: whoever can
   * delete that file owns the data folder anyway.
   */
  firstAdminToken({ lost = false }: { lost?: boolean } = {}): Promise<string | null> {
    const by = { name: "system", address: "console" };
    return this.#store.commit(() => {
      const rows = this.#store.identities.apiTokens();
      if (rows.length > 0 && !lost) return null;
      if (this.#store.identities.deleteApiToken(FIRST_ADMIN))
        this.#append("api-token.revoke", FIRST_ADMIN, by, { reason: "lost" });
      return this.#insert({ name: FIRST_ADMIN, role: "admin", ttlMs: null }, by).token;
    });
  }

  async flush(): Promise<void> {
    await Promise.all(this.#touching);
  }

  #insert(
    { name, role, ttlMs }: { name: string; role: Role; ttlMs: number | null },
    by: By,
  ): { token: string; expiresMs: number | null } {
    const { id, secretHash, text } = newApiToken();
    const createdMs = Math.round(this.#clock.now());
    const expiresMs = ttlMs === null ? null : createdMs + ttlMs;
    this.#store.identities.putApiToken({ id, name, role, secretHash, createdMs, expiresMs });
    this.#append("api-token.create", name, by, { role, expiresMs });
    return { token: text, expiresMs };
  }

  #append(action: string, object: string, by: By, detail: Record<string, unknown>): void {
    const { name: actor, address } = by;
    this.#audit.append({ actor, address, action, object, outcome: "ok", detail });
  }

  #touch(id: string, atMs: number): void {
    const touching: Promise<void> = this.#store
      .commit(() => this.#store.identities.touchApiToken(id, atMs))
      .catch((cause: unknown) => {
        this.#log.warn({ err: cause }, "last use of an API token was not noted");
      })
      .finally(() => this.#touching.delete(touching));
    this.#touching.add(touching);
  }
}

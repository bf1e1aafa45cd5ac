/**
 * Operating failures: one class, a code from one table, details as data. Callers switch on the
 * code, never on text. `remedy` is what a person should do next; docs/errors.md is checked
 * against this table by a test.
 */
export const ERRORS = {
  CONFIG_INVALID: { exit: 2, http: 400, remedy: "Fix the named lines and run it again." },
  USAGE: { exit: 2, http: 400, remedy: "See --help." },
  NOT_FOUND: { exit: 4, http: 404, remedy: "List what exists with `prestage status`." },
  CONFLICT: { exit: 5, http: 409, remedy: "Choose another version: published ones never change." },
  UNAUTHENTICATED: {
    exit: 3,
    http: 401,
    remedy: "Give a token: --context FILE or PRESTAGE_CONTEXT.",
  },
  FORBIDDEN: { exit: 3, http: 403, remedy: "Ask an admin for a token with the needed role." },
  TOKEN_REFUSED: {
    exit: 3,
    http: 403,
    remedy: "Make a new one with `prestage join-token`; each works once and expires.",
  },
  CA_MISMATCH: {
    exit: 3,
    http: 403,
    remedy: "The coordinator is not the one that made the token: check --coordinator.",
  },
  REVOKED: { exit: 3, http: 403, remedy: "The host was revoked; join again with a new token." },
  UNREACHABLE: {
    exit: 6,
    http: 503,
    remedy: "Is it running? Check the address with `prestage doctor`.",
  },
  TIMEOUT: { exit: 6, http: 504, remedy: "Try again, or give it longer with --timeout." },
  PROTOCOL: { exit: 7, http: 400, remedy: "Upgrade the older side; versions must overlap." },
  TOO_LARGE: { exit: 2, http: 413, remedy: "Split it, or raise the limit in the config." },
  DISK_FULL: { exit: 8, http: 507, remedy: "Free disk or raise store.quotaBytes." },
  CORRUPT: {
    exit: 9,
    http: 500,
    remedy: "Fetched again by itself; see `prestage doctor` if it stays.",
  },
  UNAVAILABLE: {
    exit: 6,
    http: 503,
    remedy: "No source has it now; publish it or bring a holder back.",
  },
  ENVIRONMENT_FAILED: {
    exit: 10,
    http: 502,
    remedy: "The workload's process failed: its last output is in the details.",
  },
  PAUSED: { exit: 0, http: 409, remedy: "Pre-work is paused: `prestage resume`." },
  RATE_LIMITED: { exit: 6, http: 429, remedy: "Wait and try again." },
  ADDRESS_UNUSABLE: {
    exit: 6,
    http: 503,
    remedy: "Give another address in the config, or stop what has this one.",
  },
  INTERNAL: { exit: 70, http: 500, remedy: "A bug: please report it with the daemon's log." },
} as const;

export type ErrorCode = keyof typeof ERRORS;

export class PrestageError extends Error {
  override name = "PrestageError";
  readonly code: ErrorCode;
  readonly details: Record<string, unknown>;
  /** What a person should do next; the code's, unless it is known better. */
  readonly remedy: string;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: Record<string, unknown>; remedy?: string } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
    this.remedy = options.remedy ?? ERRORS[code].remedy;
  }
}

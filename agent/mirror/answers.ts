/** What a registry answers: refusals, and the headers of content. */
import type { OutgoingHttpHeaders } from "node:http";

/** Codes of the OCI Distribution Specification, with the status each goes with here. */
const REFUSALS = {
  BLOB_UNKNOWN: 404,
  MANIFEST_UNKNOWN: 404,
  NAME_UNKNOWN: 404,
  NAME_INVALID: 400,
  DIGEST_INVALID: 400,
  UNSUPPORTED: 405,
  RANGE_INVALID: 416,
  DENIED: 403,
  TOOMANYREQUESTS: 429,
  UNAVAILABLE: 503,
} as const;
export type RefusalCode = keyof typeof REFUSALS;

export class Refusal extends Error {
  override name = "Refusal";
  readonly code: RefusalCode;
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;

  constructor(
    code: RefusalCode,
    message: string,
    { headers = {}, status }: { headers?: OutgoingHttpHeaders; status?: number } = {},
  ) {
    super(message);
    this.code = code;
    this.status = status ?? REFUSALS[code];
    this.headers = headers;
  }

  body(): string {
    const { code, message } = this;
    return `${JSON.stringify({ errors: [{ code, message, detail: null }] })}\n`;
  }
}

/** From and to, both inclusive, of `size` bytes. */
export type Span = { from: number; to: number };

/**
 * The one span that a Range header asks for; null for all of it (no header, several spans, another
 * unit: a server may ignore those). Throws 416 for one that lies outside.
 */
export function spanOf(header: string | undefined, size: number): Span | null {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header?.replaceAll(" ", "") ?? "") ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return null;
  const from = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const to = first === "" || last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (first !== "" && last !== "" && Number(last) < from) return null;
  if (from < size && from <= to) return { from, to };
  throw new Refusal("RANGE_INVALID", `${header} of ${size} bytes`, {
    headers: { "content-range": `bytes */${size}` },
  });
}

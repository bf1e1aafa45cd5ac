/** The coordinator as an origin (`prestage://coordinator/…`), reached by mutual TLS. */
import { below } from "./http.ts";
import { readRange } from "./ranges.ts";
import type { RangeRequest } from "./source.ts";
import type { Web } from "./web.ts";

export type FleetOrigin = { url: string; tls: () => { ca: string; cert: string; key: string } };

export const FLEET_SCHEME = "prestage";

export function fetchFromFleet(
  web: Web,
  origin: FleetOrigin,
  range: RangeRequest,
  { signal }: { signal: AbortSignal },
): Promise<Uint8Array> {
  const path = below(new URL(range.originUrl), range.path).pathname;
  return readRange(web, { url: new URL(path, origin.url), tls: origin.tls(), signal }, range);
}

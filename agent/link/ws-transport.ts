/** WebSocket over mutual TLS. The only importer of ws on this side. */
import { PrestageError } from "../../shared/errors.ts";
import type { Connection, Transport } from "./transport.ts";

/** PEM texts. `serverName` is checked against the coordinator's certificate; null = the URL's. */
export type LinkTls = { ca: string; cert: string; key: string; serverName: string | null };

export class WsTransport implements Transport {
  /** `url` is `https://host:port` of the coordinator; `tls` is asked anew for each connection. */
  constructor(_options: { url: string; tls: () => LinkTls }) {}

  async connect(_options: { signal: AbortSignal }): Promise<Connection> {
    throw new PrestageError("UNREACHABLE", "not connected");
  }
}

/** What a session travels on: WebSocket over mutual TLS, or the simulator's network. */
import type { PrestageError } from "../../shared/errors.ts";

export interface Connection {
  /**
   * False when the connection holds as much as it should: stop until `onDrain`. The bytes were
   * taken nevertheless. Sending on a closed connection does nothing.
   */
  send(bytes: Uint8Array): boolean;
  /** Bytes taken but not yet handed to the network. */
  readonly bufferedAmount: number;
  /** Ends it; `onClose` follows. Safe to call again. */
  close(reason: string): void;
  onMessage(handler: (bytes: Uint8Array) => void): void;
  onDrain(handler: () => void): void;
  onClose(handler: (why: PrestageError) => void): void;
}

export interface Transport {
  /** Rejects with a PrestageError; `details.retryAfterMs` is when the other side wants it again. */
  connect(options: { signal: AbortSignal }): Promise<Connection>;
}

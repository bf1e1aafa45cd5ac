/** A terminal that keeps what is written to it, for tests of commands. */
import { Readable, Writable } from "node:stream";
import type { Terminal } from "../../shared/runtime/terminal.ts";

export class FakeTerminal implements Terminal {
  readonly args: readonly string[];
  readonly env: Record<string, string | undefined>;
  readonly home: string;
  readonly nodePath = process.execPath;
  readonly stdin: Readable;
  readonly stderr = new Writable({ write: (_chunk, _encoding, done) => done() });
  readonly outIsTty = false;
  readonly errIsTty = false;
  readonly columns = 100;
  readonly #stop = new AbortController();
  stdout = "";
  errors = "";
  exit = 0;

  constructor(
    args: readonly string[],
    options: { env?: Record<string, string>; home?: string; stdin?: string } = {},
  ) {
    this.args = args;
    this.env = options.env ?? {};
    this.home = options.home ?? "/nonexistent";
    this.stdin = Readable.from([options.stdin ?? ""]);
  }

  get interrupted(): AbortSignal {
    return this.#stop.signal;
  }
  interrupt(reason: Error): void {
    this.#stop.abort(reason);
  }
  out = (text: string): void => {
    this.stdout += text;
  };
  err = (text: string): void => {
    this.errors += text;
  };
  setExit(code: number): void {
    this.exit = code;
  }
  kill(pid: number): void {
    process.kill(pid, "SIGKILL");
  }
}

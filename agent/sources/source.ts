/**
 * What a kind of source has to be able to do; `sources.ts` picks one by the URL's scheme.
 * All fail with a `PrestageError`: NOT_FOUND (nothing there), FORBIDDEN (credentials missing or
 * refused), CONFLICT (it changed while it was read), CORRUPT (not what was promised), TOO_LARGE,
 * UNREACHABLE and TIMEOUT after some attempts, USAGE (a URL that cannot be meant).
 */
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Random } from "../../shared/runtime/random.ts";
import type { Credentials } from "./credentials.ts";
import type { Programs } from "./program.ts";
import type { SourceLimits } from "./settings.ts";
import type { Web } from "./web.ts";

/** Bytes `offset` to `offset + bytes` of the file `path` of a version whose origin is that. */
export type RangeRequest = { originUrl: string; path: string; offset: number; bytes: number };

/** How fast may be read what nobody waits for. */
export type ReadingPace = {
  readonly bytesPerSecond: number;
  /** Resolves when so many bytes more may come. */
  wait(bytes: number, signal: AbortSignal): Promise<void>;
};
export type Fetching = { signal: AbortSignal; pace?: ReadingPace | undefined };

export type SourceFile = {
  /** Relative, `/`-separated. */
  path: string;
  executable: boolean;
  /** Null when it is known only after reading. */
  bytes: number | null;
  /** Its bytes, once, in pieces whose memory the caller may keep until it asks for the next. */
  read(options: { signal: AbortSignal }): AsyncIterable<Uint8Array>;
};

/** A whole tree as it is now. Files are given one at a time: read one before the next is asked. */
export type Snapshot = {
  /** What `revision` says of the same state; empty when the source cannot tell. */
  revision: string;
  /** For the manifest: a URL under which `fetchRange` finds these bytes later. */
  originUrl: string;
  /** Under `originUrl` there can never be other bytes. */
  pinned: boolean;
  files: AsyncIterable<SourceFile>;
};

export type Source = {
  fetchRange(range: RangeRequest, options: Fetching): Promise<Uint8Array>;
  snapshot(url: URL, options: { signal: AbortSignal }): Promise<Snapshot>;
  /** What the URL points to now, short and cheap: equal only while the content is. */
  revision(url: URL, options: { signal: AbortSignal }): Promise<string>;
  close(): Promise<void>;
};

export type SourceDeps = {
  clock: Clock;
  random: Random;
  log: Log;
  credentials: Credentials;
  web: Web;
  programs: Programs;
  limits: SourceLimits;
  /** A folder of this kind of source, for what cannot be read in ranges; made when needed. */
  cacheDir: string;
};

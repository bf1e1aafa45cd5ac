/**
 * Where artifacts come from, by the scheme of their URL. What a kind of source needs is loaded
 * with its first use: an idle agent has no use for it.
 */
import { hash } from "node:crypto";
import { join } from "node:path";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Histogram, Metrics } from "../../shared/runtime/metrics.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { parseSourceUrl, type SourceScheme, schemeOf } from "../../shared/source-url.ts";
import { Credentials } from "./credentials.ts";
import { FLEET_SCHEME, type FleetOrigin, fetchFromFleet } from "./fleet.ts";
import { Programs } from "./program.ts";
import type { SourceLimits, SourceSettings } from "./settings.ts";
import type { Fetching, RangeRequest, Snapshot, Source, SourceDeps } from "./source.ts";
import { Web } from "./web.ts";

type Reading = { signal: AbortSignal };
type Make = (deps: SourceDeps) => Promise<Source>;

type Kind = {
  name: string;
  schemes: readonly SourceScheme[];
  /** It reads ranges, each at the pace it is given. */
  ranges: boolean;
  make: Make;
};

/** Each kind of source by the schemes it stands for. */
const KINDS: readonly Kind[] = [
  {
    name: "http",
    schemes: ["http", "https"],
    ranges: true,
    make: async (deps) => new (await import("./http.ts")).HttpSource(deps),
  },
  {
    name: "s3",
    schemes: ["s3"],
    ranges: true,
    make: async (deps) => new (await import("./s3.ts")).S3Source(deps),
  },
  {
    name: "git",
    schemes: ["git", "git+http", "git+https", "git+ssh", "git+file"],
    ranges: false,
    make: async (deps) => new (await import("./git.ts")).GitSource(deps),
  },
  {
    name: "rsync",
    schemes: ["rsync"],
    ranges: false,
    make: async (deps) => new (await import("./rsync.ts")).RsyncSource(deps),
  },
  {
    name: "file",
    schemes: ["file"],
    ranges: false,
    make: async (deps) => new (await import("./directory.ts")).DirectorySource(deps),
  },
  {
    name: "oci",
    schemes: ["oci"],
    ranges: true,
    make: async (deps) => new (await import("./oci.ts")).OciSource(deps),
  },
];

const REVISION_MAX = 200;

export class Sources {
  readonly #deps: Omit<SourceDeps, "cacheDir">;
  readonly #cacheDir: string;
  readonly #fleet: FleetOrigin;
  readonly #made = new Map<string, Promise<Source>>();
  readonly #seconds: Histogram<"kind" | "what" | "result">;

  constructor(
    deps: {
      clock: Clock;
      random: Random;
      log: Log;
      metrics: Metrics;
      /** What programs such as git get: PATH, HOME. */
      environment: Record<string, string>;
      /** An environment variable that the settings name. */
      secret: (name: string) => string | undefined;
    },
    options: {
      settings: readonly SourceSettings[];
      limits: SourceLimits;
      cacheDir: string;
      fleet: FleetOrigin;
    },
  ) {
    const { clock, random, log } = deps;
    const { limits, settings } = options;
    const credentials = new Credentials(settings, deps.secret);
    const web = new Web({ clock, random }, { stallMs: limits.stallMs });
    const programs = new Programs(clock, deps.environment);
    this.#deps = { clock, random, log, credentials, web, programs, limits };
    this.#seconds = deps.metrics.histogram({
      name: "prestage_sources_seconds",
      help: "What sources of artifacts took: ranges, listings and revisions, by kind and result",
      labelNames: ["kind", "what", "result"],
      buckets: [0.01, 0.1, 1, 10, 60],
    });
    this.#cacheDir = options.cacheDir;
    this.#fleet = options.fleet;
  }

  async fetchRange(range: RangeRequest, options: Fetching): Promise<Uint8Array> {
    const scheme = schemeOf(new URL(range.originUrl));
    if (scheme === FLEET_SCHEME) return fetchFromFleet(this.#deps.web, this.#fleet, range, options);
    // What is fetched by files keeps the pace on the whole.
    if (!kindOf(scheme).ranges) await options.pace?.wait(range.bytes, options.signal);
    return this.#timed(scheme, "range", options, (source) => source.fetchRange(range, options));
  }

  async snapshot(url: string, options: Reading): Promise<Snapshot> {
    const parsed = parseSourceUrl(url);
    const snapshot = await this.#timed(schemeOf(parsed), "snapshot", options, (source) =>
      source.snapshot(parsed, options),
    );
    return { ...snapshot, revision: short(snapshot.revision) };
  }

  async revision(url: string, options: Reading): Promise<string> {
    const parsed = parseSourceUrl(url);
    const revision = await this.#timed(schemeOf(parsed), "revision", options, (source) =>
      source.revision(parsed, options),
    );
    return short(revision);
  }

  async close(): Promise<void> {
    for (const source of this.#made.values()) await (await source).close();
    await this.#deps.web.close();
  }

  async #timed<T>(
    scheme: string,
    what: "range" | "snapshot" | "revision",
    { signal }: Reading,
    work: (source: Source) => Promise<T>,
  ): Promise<T> {
    const kind = kindOf(scheme);
    const fromMs = this.#deps.clock.monotonic();
    const ended = (result: "ok" | "failed") => {
      const seconds = (this.#deps.clock.monotonic() - fromMs) / 1000;
      this.#seconds.observe({ kind: kind.name, what, result }, seconds);
    };
    try {
      const value = await work(await this.#source(kind));
      ended("ok");
      return value;
    } catch (cause) {
      if (!signal.aborted) ended("failed");
      throw cause;
    }
  }

  #source({ name, make }: Kind): Promise<Source> {
    let source = this.#made.get(name);
    if (!source) {
      source = make({ ...this.#deps, cacheDir: join(this.#cacheDir, name) });
      this.#made.set(name, source);
    }
    return source;
  }
}

function kindOf(scheme: string): Kind {
  const kind = KINDS.find((k) => k.schemes.some((s) => s === scheme));
  if (!kind) throw new PrestageError("USAGE", `${scheme}:// is no source of artifacts here`);
  return kind;
}

/** A server may say what it likes, at any length. */
function short(revision: string): string {
  return revision.length <= REVISION_MAX ? revision : hash("sha256", revision, "hex");
}

/**
 * Files that lie under a URL of a web server: one file, or, when the URL ends with a slash, all
 * that a listing names. A listing is the file that `#list=` names, one path a line (lines of
 * `sha256sum` too, whose sums are then checked), or what nginx's `autoindex_format json` answers.
 */
import { createHash, hash } from "node:crypto";
import { z } from "zod";
import { PrestageError } from "../../shared/errors.ts";
import { MANIFEST_FILES_MAX } from "../../shared/manifest.ts";
import { decodedPath, shownUrl } from "../../shared/source-url.ts";
import { readRange, refusal, streamFile, type Validator, validatorOf } from "./ranges.ts";
import type { Fetching, RangeRequest, Snapshot, Source, SourceDeps, SourceFile } from "./source.ts";
import { bodyText, type WebRequest } from "./web.ts";

type Listed = { path: string; bytes: number | null; sha256: string | null; state: string | null };
type Reading = { signal: AbortSignal };

const LISTING_BYTES_MAX = 16 << 20;

const NO_HEAD = new Set([405, 501]);
const Autoindex = z.array(
  z.object({
    name: z.string().min(1),
    type: z.string(),
    mtime: z.string().optional(),
    size: z.number().optional(),
  }),
);

export class HttpSource implements Source {
  readonly #deps: SourceDeps;

  constructor(deps: SourceDeps) {
    this.#deps = deps;
  }

  fetchRange(range: RangeRequest, { signal, pace }: Fetching): Promise<Uint8Array> {
    const url = below(new URL(range.originUrl), range.path);
    return readRange(this.#deps.web, { ...this.#asked(url, signal), pace }, range);
  }

  async snapshot(url: URL, { signal }: Reading): Promise<Snapshot> {
    const originUrl = new URL(url);
    originUrl.hash = "";
    if (!isFolder(url)) {
      originUrl.pathname = url.pathname.slice(0, url.pathname.lastIndexOf("/") + 1);
      const state = await this.#stateOf(url, signal);
      const path = nameOf(url);
      const file = this.#file(url, { path, bytes: null, sha256: null, state: null }, state);
      return {
        revision: state ?? "",
        originUrl: originUrl.href,
        pinned: false,
        files: (async function* () {
          yield file;
        })(),
      };
    }
    const { listed, revision } = await this.#list(url, signal);
    return {
      revision,
      originUrl: originUrl.href,
      pinned: false,
      files: this.#files(originUrl, listed),
    };
  }

  async revision(url: URL, { signal }: Reading): Promise<string> {
    if (isFolder(url)) return (await this.#list(url, signal)).revision;
    const state = await this.#stateOf(url, signal);
    if (state !== null) return state;
    throw new PrestageError("UNAVAILABLE", `${url.host} tells neither ETag nor Last-Modified`, {
      remedy: "Without them a change cannot be noticed: publish it by hand with --version.",
    });
  }

  async close(): Promise<void> {}

  #asked(url: URL, signal: AbortSignal): WebRequest {
    const { credentials } = this.#deps;
    const settings = credentials.settings(url);
    const asked = { url, signal, caFile: settings?.caFile };
    if (!settings?.auth) return asked;
    return {
      ...asked,
      authorize: async ({ headers }) => {
        const authorization = await credentials.authorization(url);
        return authorization === null ? headers : { ...headers, authorization };
      },
    };
  }

  /** By HEAD: what tells this state of the file from others; null when the server does not say. */
  #stateOf(url: URL, signal: AbortSignal): Promise<Validator> {
    const asked: WebRequest = { ...this.#asked(url, signal), method: "HEAD" };
    return this.#deps.web.ask(asked, async (answer) => {
      if (NO_HEAD.has(answer.status)) return this.#stateByRange(url, signal);
      if (answer.status !== 200) throw await refusal(answer, asked);
      await answer.body.dump();
      return validatorOf(answer);
    });
  }

  /** The same of a server that answers no HEAD. */
  #stateByRange(url: URL, signal: AbortSignal): Promise<Validator> {
    const asked = { ...this.#asked(url, signal), headers: { range: "bytes=0-0" } };
    return this.#deps.web.ask(asked, async (answer) => {
      const { status, body } = answer;
      if (status !== 200 && status !== 206) throw await refusal(answer, asked);
      body.destroy();
      return validatorOf(answer);
    });
  }

  async *#files(base: URL, listed: Listed[]): AsyncGenerator<SourceFile> {
    for (const entry of listed) yield this.#file(below(base, entry.path), entry, null);
  }

  #file(url: URL, { path, bytes, sha256 }: Listed, state: Validator): SourceFile {
    const { web } = this.#deps;
    return {
      path,
      bytes,
      executable: false,
      read: ({ signal }) => {
        const pieces = streamFile(web, this.#asked(url, signal), state);
        return sha256 === null ? pieces : summed(pieces, sha256, path);
      },
    };
  }

  async #list(url: URL, signal: AbortSignal): Promise<{ listed: Listed[]; revision: string }> {
    const name = new URLSearchParams(url.hash.slice(1)).get("list");
    const base = new URL(url);
    base.hash = "";
    const listed =
      name === null ? await this.#walk(base, signal) : await this.#named(base, name, signal);
    if (listed.length > MANIFEST_FILES_MAX)
      throw new PrestageError(
        "TOO_LARGE",
        `${shownUrl(url)} lists over ${MANIFEST_FILES_MAX} files`,
      );
    listed.sort((a, b) => (a.path < b.path ? -1 : 1));
    const state = listed.map((f) => `${f.path}\0${f.sha256 ?? f.state ?? ""}`).join("\n");
    return { listed, revision: hash("sha256", state, "hex") };
  }

  /** What a file of the server names, relative to the folder. */
  async #named(base: URL, name: string, signal: AbortSignal): Promise<Listed[]> {
    const text = await this.#text(below(base, name), signal);
    const listed: Listed[] = [];
    for (const line of text.split(/\r?\n/)) {
      if (line.trim() === "" || line.startsWith("#")) continue;
      const [, sha256, summed] = /^([0-9a-f]{64}) [ *](.+)$/.exec(line) ?? [];
      const path = (summed ?? line).trim().replace(/^\.\//, "");
      listed.push({ path, bytes: null, sha256: sha256 ?? null, state: null });
      if (listed.length > MANIFEST_FILES_MAX) break;
    }
    for (const entry of listed)
      if (entry.sha256 === null) entry.state = await this.#stateOf(below(base, entry.path), signal);
    return listed;
  }

  /** What nginx lists as JSON, folders below included. */
  async #walk(base: URL, signal: AbortSignal): Promise<Listed[]> {
    const listed: Listed[] = [];
    const folders = [""];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const text = await this.#text(folder === "" ? base : below(base, `${folder}/`), signal);
      for (const { name, type, mtime, size } of autoindex(text, base)) {
        const path = folder === "" ? name : `${folder}/${name}`;
        if (type === "directory") folders.push(path);
        else if (type === "file")
          listed.push({ path, bytes: size ?? null, sha256: null, state: `${mtime} ${size}` });
      }
      if (listed.length > MANIFEST_FILES_MAX || folders.length > MANIFEST_FILES_MAX) break;
    }
    return listed;
  }

  #text(url: URL, signal: AbortSignal): Promise<string> {
    const asked = this.#asked(url, signal);
    return this.#deps.web.ask(asked, async (answer) => {
      if (answer.status !== 200) throw await refusal(answer, asked);
      return bodyText(answer, LISTING_BYTES_MAX);
    });
  }
}

/** `base` with the path's segments below it; its query stays. */
export function below(base: URL, path: string): URL {
  const url = new URL(base);
  url.hash = "";
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/${encoded}`;
  return url;
}

const isFolder = (url: URL) => url.pathname.endsWith("/");

function nameOf(url: URL): string {
  return decodedPath(url.pathname.slice(url.pathname.lastIndexOf("/") + 1));
}

function autoindex(text: string, base: URL): z.infer<typeof Autoindex> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = null; // told below, like any other answer that is no listing
  }
  const parsed = Autoindex.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new PrestageError("USAGE", `${shownUrl(base)} answers no listing that can be read`, {
    remedy: "Name a file that lists the paths with --list, or let nginx `autoindex_format json`.",
  });
}

async function* summed(
  pieces: AsyncIterable<Uint8Array>,
  sha256: string,
  path: string,
): AsyncGenerator<Uint8Array> {
  const sum = createHash("sha256");
  for await (const piece of pieces) {
    sum.update(piece);
    yield piece;
  }
  if (sum.digest("hex") !== sha256)
    throw new PrestageError("CORRUPT", `${path} is not what its sum in the list says`, {
      details: { path },
    });
}

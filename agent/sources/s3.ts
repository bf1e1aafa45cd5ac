/**
 * Objects of S3 and stores that speak its protocol, path-style: `s3://BUCKET/KEY` is one object,
 * `s3://BUCKET/PREFIX/` all below it. Endpoint, region and keys come from `sources:`. The only
 * importer of aws4fetch (signatures) and fast-xml-parser (lists).
 */
import { hash } from "node:crypto";
import { z } from "zod";
import { PrestageError } from "../../shared/errors.ts";
import { MANIFEST_FILES_MAX } from "../../shared/manifest.ts";
import { decodedPath, shownUrl } from "../../shared/source-url.ts";
import { readRange, refusal, streamFile, validatorOf } from "./ranges.ts";
import type { Fetching, RangeRequest, Snapshot, Source, SourceDeps, SourceFile } from "./source.ts";
import { bodyText, type WebAnswer, type WebRequest } from "./web.ts";

type Reading = { signal: AbortSignal };
type Stored = { key: string; bytes: number | null; etag: string; state: string };
/** Either one object, or all below a prefix. */
type Found = { base: string; objects: Stored[]; single: boolean };

const LIST_BYTES_MAX = 8 << 20;
/** Past so many pages there are more objects than a version may have. */
const PAGES_MAX = MANIFEST_FILES_MAX / 1_000 + 1;

const Entry = z.object({
  Key: z.string(),
  Size: z.coerce.number(),
  /** Some stores have none for what was not written through them. */
  ETag: z.string().default(""),
  LastModified: z.string().default(""),
});
const ListAnswer = z.object({
  ListBucketResult: z.object({
    Contents: z.array(Entry).default([]),
    NextContinuationToken: z.string().optional(),
    IsTruncated: z.string().default("false"),
  }),
});

export class S3Source implements Source {
  readonly #deps: SourceDeps;

  constructor(deps: SourceDeps) {
    this.#deps = deps;
  }

  fetchRange(range: RangeRequest, { signal, pace }: Fetching): Promise<Uint8Array> {
    const origin = new URL(range.originUrl);
    const asked = this.#asked(origin, keyOf(origin) + range.path, signal);
    return readRange(this.#deps.web, { ...asked, pace }, range);
  }

  async snapshot(url: URL, { signal }: Reading): Promise<Snapshot> {
    const found = await this.#find(url, signal);
    const base = new URL(url);
    base.pathname = `/${encodePath(found.base)}`;
    return {
      revision: revisionOf(found),
      originUrl: base.href,
      pinned: false,
      files: this.#files(url, found),
    };
  }

  async revision(url: URL, { signal }: Reading): Promise<string> {
    return revisionOf(await this.#find(url, signal));
  }

  async close(): Promise<void> {}

  async *#files(url: URL, { base, objects }: Found): AsyncGenerator<SourceFile> {
    for (const { key, bytes, etag } of objects)
      yield {
        path: key.slice(base.length),
        bytes,
        executable: false,
        read: ({ signal }) =>
          streamFile(this.#deps.web, this.#asked(url, key, signal), etag === "" ? null : etag),
      };
  }

  async #find(url: URL, signal: AbortSignal): Promise<Found> {
    const key = keyOf(url);
    if (key !== "" && !key.endsWith("/")) {
      const object = await this.#head(url, key, signal);
      const base = key.slice(0, key.lastIndexOf("/") + 1);
      if (object) return { base, objects: [object], single: true };
    }
    const base = key === "" || key.endsWith("/") ? key : `${key}/`;
    const objects = await this.#list(url, base, signal);
    if (objects.length > 0) return { base, objects, single: false };
    throw new PrestageError("NOT_FOUND", `no object lies below ${shownUrl(url)}`);
  }

  async #head(url: URL, key: string, signal: AbortSignal): Promise<Stored | null> {
    const asked: WebRequest = { ...this.#asked(url, key, signal), method: "HEAD" };
    return this.#deps.web.ask(asked, async (answer) => {
      if (answer.status !== 404 && answer.status !== 200) throw await refusal(answer, asked);
      await answer.body.dump();
      if (answer.status === 404) return null;
      const etag = validatorOf(answer) ?? "";
      return { key, bytes: Number(answer.header("content-length") ?? 0), etag, state: etag };
    });
  }

  async #list(url: URL, prefix: string, signal: AbortSignal): Promise<Stored[]> {
    const objects: Stored[] = [];
    let token: string | undefined;
    for (let page = 0; page <= PAGES_MAX; page++) {
      const asked = this.#asked(url, "", signal);
      const query = { "list-type": "2", prefix };
      asked.url.search = new URLSearchParams(
        token === undefined ? query : { ...query, "continuation-token": token },
      ).toString();
      const { ListBucketResult: list } = await this.#deps.web.ask(asked, (answer) =>
        listAnswer(answer, asked),
      );
      for (const { Key: key, Size: bytes, ETag: etag, LastModified } of list.Contents)
        if (!key.endsWith("/"))
          objects.push({ key, bytes, etag, state: etag || `${LastModified} ${bytes}` });
      token = list.NextContinuationToken;
      if (objects.length > MANIFEST_FILES_MAX) break;
      if (list.IsTruncated !== "true" || token === undefined) return objects;
    }
    throw new PrestageError("TOO_LARGE", `over ${MANIFEST_FILES_MAX} objects below ${prefix}`);
  }

  /** A request for a key of the URL's bucket, signed when there are keys for it. */
  #asked(url: URL, key: string, signal: AbortSignal): WebRequest {
    const { credentials } = this.#deps;
    const settings = credentials.settings(url);
    const region = settings?.region ?? "us-east-1";
    const endpoint = settings?.endpoint ?? `https://s3.${region}.amazonaws.com`;
    const target = new URL(endpoint);
    const base = target.pathname.replace(/\/+$/, "");
    target.pathname = `${base}/${encodePath(`${url.hostname}/${key}`)}`;
    const asked = { url: target, signal, caFile: settings?.caFile };
    if (!settings?.auth) return asked;
    return {
      ...asked,
      authorize: async ({ method, url: to, headers }) => {
        const keys = await credentials.aws(url);
        if (!keys)
          throw new PrestageError("CONFIG_INVALID", `sources: ${url.host} takes scheme: aws`);
        const { AwsV4Signer } = await import("aws4fetch");
        const signer = new AwsV4Signer({
          ...keys,
          method,
          url: to.href,
          headers,
          service: "s3",
          region,
        });
        return Object.fromEntries((await signer.sign()).headers);
      },
    };
  }
}

async function listAnswer(
  answer: WebAnswer,
  asked: WebRequest,
): Promise<z.infer<typeof ListAnswer>> {
  if (answer.status !== 200) throw await refusal(answer, asked);
  const { XMLParser } = await import("fast-xml-parser");
  const parser = new XMLParser({
    parseTagValue: false,
    trimValues: false,
    htmlEntities: true,
    isArray: (name) => name === "Contents",
  });
  const parsed = ListAnswer.safeParse(parser.parse(await bodyText(answer, LIST_BYTES_MAX)));
  if (parsed.success) return parsed.data;
  throw new PrestageError("PROTOCOL", `${asked.url.host} answers no list of objects`, {
    remedy: "Is `endpoint` under `sources:` in agent.yaml an S3 store?",
  });
}

/** Of every object its name and state, so that any change is another revision. */
function revisionOf({ objects, single }: Found): string {
  if (single) return objects[0]?.state ?? "";
  return hash("sha256", objects.map((o) => `${o.key}\0${o.state}`).join("\n"), "hex");
}

const keyOf = (url: URL) => decodedPath(url.pathname.slice(1));

const encodePath = (path: string) => path.split("/").map(encodeURIComponent).join("/");

/** Takes in what agents publish, and the tags they move. */
import type { HostId } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import { verifyManifest } from "../shared/manifest.ts";
import { unpackManifest } from "../shared/packed-manifest.ts";
import type { ReplyBody, RequestBody } from "../shared/protocol/bodies.ts";
import { parseSourceUrl } from "../shared/source-url.ts";
import type { Store } from "./store/store.ts";
import type { Trust } from "./trust/trust.ts";

export type PublicationsDeps = {
  store: Store;
  trust: Trust;
  /** A name may mean another version now. */
  changed(): void;
  /** Tags that the host looks after. */
  follows(host: HostId): readonly { name: string; tag: string }[];
};

export class Publications {
  readonly #deps: PublicationsDeps;

  constructor(deps: PublicationsDeps) {
    this.#deps = deps;
  }

  /** A host publishes only as itself; a version never changes. */
  async publish(
    host: HostId,
    { manifest: packed, tags }: Extract<RequestBody, { kind: "publish" }>,
  ): Promise<ReplyBody> {
    const { store, trust } = this.#deps;
    const signed = await unpackManifest(packed);
    const manifest = verifyManifest(signed);
    const { name, version, bytes, createdMs, publisher, originUrl, files } = manifest;
    // The URL goes to every host and to whoever reads the API.
    if (originUrl !== null) parseSourceUrl(originUrl);
    trust.publishers.checkPublication(host, signed.publicKey, name);
    if (publisher !== host)
      throw new PrestageError("FORBIDDEN", `${host} cannot publish as ${publisher}`);
    const facts = { name, version, bytes, createdMs, publisher, originUrl, files: files.length };
    const put = await store.artifacts.put(signed, facts, tags);
    if (put.kind === "conflict")
      throw new PrestageError("CONFLICT", `${name}@${version} exists with other content`);
    await this.#record(host, "publish", `${name}@${version}`);
    this.#deps.changed();
    return { kind: "publish", manifestHash: signed.hash };
  }

  /** Only tags that the host follows; false when there is no such version. */
  async moveTag(
    host: HostId,
    { name, version, tag }: Extract<RequestBody, { kind: "tag" }>,
  ): Promise<boolean> {
    const { store, follows } = this.#deps;
    if (!follows(host).some((f) => f.name === name && f.tag === tag))
      throw new PrestageError("FORBIDDEN", `${host} does not follow ${name}:${tag}`);
    const row = store.artifacts.resolve(name, { version });
    if (!row) return false;
    if (row.tags.includes(tag)) return true;
    await store.artifacts.moveTag(name, tag, row.hash);
    await this.#record(host, "tag", `${name}:${tag} ${version}`);
    this.#deps.changed();
    return true;
  }

  async #record(host: HostId, action: string, object: string): Promise<void> {
    const entry = { actor: `host:${host}`, address: "", object };
    await this.#deps.trust.audit.record({ ...entry, action, outcome: "ok" });
  }
}

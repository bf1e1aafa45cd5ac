/** Published artifact versions (immutable) and the tags that move over them. */
import type { SignedManifest } from "../../shared/domain.ts";
import type { Database } from "./open.ts";

/** What the caller read from the manifest's body. */
export type ManifestFacts = {
  name: string;
  version: string;
  bytes: number;
  files: number;
  createdMs: number;
  publisher: string;
  originUrl: string | null;
};
/** `publicKey`: of the key that signed it. */
export type ArtifactRow = ManifestFacts & { hash: string; publicKey: string; tags: string[] };
export type ImageRow = Pick<ArtifactRow, "name" | "createdMs" | "bytes" | "publicKey"> & {
  manifestHash: string;
  originUrl: string;
};
/** `conflict`: the version exists with other content; `hash` is what it has. */
export type PutResult = { kind: "added" | "present" } | { kind: "conflict"; hash: string };

type Columns = {
  hash: string;
  name: string;
  version: string;
  bytes: number;
  files: number;
  created_ms: number;
  publisher: string;
  origin_url: string | null;
  public_key: string;
};
const COLUMNS = "hash, name, version, bytes, files, created_ms, publisher, origin_url, public_key";

export class ArtifactTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Keeps the manifest and moves the tags to it, together. A conflict moves nothing. */
  put(signed: SignedManifest, facts: ManifestFacts, tags: readonly string[]): Promise<PutResult> {
    return this.#db.commit(() => {
      const present = this.#db.get<{ hash: string }>(
        "SELECT hash FROM manifests WHERE name = ? AND version = ?",
        facts.name,
        facts.version,
      );
      if (present && present.hash !== signed.hash) return { kind: "conflict", hash: present.hash };
      if (!present)
        this.#db.run(
          `INSERT INTO manifests (${COLUMNS}, body, signature)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
          signed.hash,
          facts.name,
          facts.version,
          facts.bytes,
          facts.files,
          Math.round(facts.createdMs),
          facts.publisher,
          facts.originUrl,
          signed.publicKey,
          signed.body,
          signed.signature,
        );
      for (const tag of tags) this.#tag(facts.name, tag, signed.hash);
      return { kind: present ? "present" : "added" };
    });
  }

  /** The tag now means this version of the same name. */
  moveTag(name: string, tag: string, hash: string): Promise<void> {
    return this.#db.commit(() => this.#tag(name, tag, hash));
  }

  /** By exact version, or by tag. Null when there is none. */
  resolve(name: string, by: { version: string } | { tag: string }): ArtifactRow | null {
    const row =
      "version" in by
        ? this.#db.get<Columns>(
            `SELECT ${COLUMNS} FROM manifests WHERE name = ? AND version = ?`,
            name,
            by.version,
          )
        : this.#db.get<Columns>(
            `SELECT ${COLUMNS} FROM manifests
               WHERE hash = (SELECT hash FROM tags WHERE name = ? AND tag = ?)`,
            name,
            by.tag,
          );
    return row ? this.#withTags(row) : null;
  }

  manifest(hash: string): SignedManifest | null {
    const row = this.#db.get<{ body: string; signature: string; public_key: string }>(
      "SELECT body, signature, public_key FROM manifests WHERE hash = ?",
      hash,
    );
    return row
      ? { body: row.body, hash, signature: row.signature, publicKey: row.public_key }
      : null;
  }

  facts(hash: string): ArtifactRow | null {
    const row = this.#db.get<Columns>(`SELECT ${COLUMNS} FROM manifests WHERE hash = ?`, hash);
    return row ? this.#withTags(row) : null;
  }

  /** Whose origin is an image of the repository (`oci://…`), the latest published first. */
  images(
    repository: string,
    { tag, digest }: { tag: string | null; digest: string | null },
    limit: number,
  ): ImageRow[] {
    const from = tag === null ? repository : `${repository}:${tag}`;
    return this.#db.all<ImageRow>(
      `SELECT hash AS manifestHash, origin_url AS originUrl, created_ms AS createdMs, bytes, name,
             public_key AS publicKey FROM manifests
           WHERE (origin_url >= ?1 || '@' AND origin_url < ?1 || 'A'
               OR ?2 IS NULL AND origin_url >= ?1 || ':' AND origin_url < ?1 || ';')
             AND (?3 IS NULL OR substr(origin_url, -length(?3)) = ?3)
           ORDER BY created_ms DESC LIMIT ?4`,
      from,
      tag,
      digest === null ? null : `@${digest}`,
      limit,
    );
  }

  list(): ArtifactRow[] {
    return this.#db
      .all<Columns>(`SELECT ${COLUMNS} FROM manifests ORDER BY name, created_ms, version`)
      .map((row) => this.#withTags(row));
  }

  #tag(name: string, tag: string, hash: string): void {
    this.#db.run(
      `INSERT INTO tags VALUES (?, ?, ?, CAST(unixepoch('subsec') * 1000 AS INTEGER))
         ON CONFLICT (name, tag) DO UPDATE
         SET hash = excluded.hash, changed_ms = excluded.changed_ms`,
      name,
      tag,
      hash,
    );
  }

  #withTags(row: Columns): ArtifactRow {
    const tags = this.#db.all<{ tag: string }>(
      "SELECT tag FROM tags WHERE name = ? AND hash = ? ORDER BY tag",
      row.name,
      row.hash,
    );
    return {
      hash: row.hash,
      name: row.name,
      version: row.version,
      bytes: row.bytes,
      files: row.files,
      createdMs: row.created_ms,
      publisher: row.publisher,
      originUrl: row.origin_url,
      publicKey: row.public_key,
      tags: tags.map(({ tag }) => tag),
    };
  }
}

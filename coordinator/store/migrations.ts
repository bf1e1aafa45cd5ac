/**
 * The schema as numbered steps. A released step never changes; a change is a new step. `STRICT`
 * tables, times in milliseconds, JSON where a value is only read whole.
 */
export type Migration = { version: number; name: string; sql: string };

export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: "first",
    sql: `
CREATE TABLE settings (
  key TEXT PRIMARY KEY, value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workloads (
  name TEXT PRIMARY KEY, body TEXT NOT NULL, changed_by TEXT NOT NULL, changed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE classes (
  name TEXT PRIMARY KEY, body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE manifests (
  hash TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, bytes INTEGER NOT NULL,
  files INTEGER NOT NULL, created_ms INTEGER NOT NULL, publisher TEXT NOT NULL, origin_url TEXT,
  body TEXT NOT NULL, signature TEXT NOT NULL, public_key TEXT NOT NULL,
  UNIQUE (name, version)
) STRICT;
CREATE TABLE tags (
  name TEXT NOT NULL, tag TEXT NOT NULL, hash TEXT NOT NULL REFERENCES manifests (hash),
  changed_ms INTEGER NOT NULL, PRIMARY KEY (name, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE hosts (
  host TEXT PRIMARY KEY, site TEXT NOT NULL, peer_id TEXT NOT NULL UNIQUE,
  public_key TEXT NOT NULL, enrolled_ms INTEGER NOT NULL, revoked_ms INTEGER,
  mesh_addresses TEXT NOT NULL DEFAULT '[]', router_url TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE certificates (
  serial TEXT PRIMARY KEY, host TEXT NOT NULL REFERENCES hosts (host), peer_id TEXT NOT NULL,
  not_after_ms INTEGER NOT NULL, revoked_ms INTEGER, pem TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_of_host ON certificates (host, not_after_ms);
CREATE TABLE join_tokens (
  id TEXT PRIMARY KEY, secret_hash BLOB NOT NULL, host TEXT, site TEXT,
  created_by TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
  used_ms INTEGER, used_host TEXT, used_public_key TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE api_tokens (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, secret_hash BLOB NOT NULL,
  created_ms INTEGER NOT NULL, expires_ms INTEGER, last_used_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, address TEXT NOT NULL,
  action TEXT NOT NULL, object TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL,
  hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
  BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
  BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;

CREATE TABLE series (
  id INTEGER PRIMARY KEY, workload TEXT NOT NULL, category TEXT NOT NULL, host TEXT NOT NULL,
  UNIQUE (workload, category, host)
) STRICT;
CREATE TABLE demand (
  series INTEGER NOT NULL REFERENCES series (id), start_ms INTEGER NOT NULL,
  count INTEGER NOT NULL, PRIMARY KEY (series, start_ms)
) STRICT, WITHOUT ROWID;
CREATE TABLE sequences (
  host TEXT NOT NULL, boot_id TEXT NOT NULL, last_seq INTEGER NOT NULL, used INTEGER NOT NULL,
  PRIMARY KEY (host, boot_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE imports (
  source TEXT PRIMARY KEY, bins INTEGER NOT NULL, at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outcomes (
  id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, workload TEXT NOT NULL, category TEXT NOT NULL,
  host TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE INDEX outcomes_by_time ON outcomes (at_ms);
CREATE TABLE decisions (
  row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at_ms INTEGER NOT NULL, workload TEXT,
  category TEXT, host TEXT NOT NULL, outcome TEXT, reward REAL, body TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_by_time ON decisions (at_ms);
CREATE INDEX decisions_by_workload ON decisions (workload, category, at_ms);
CREATE INDEX decisions_by_host ON decisions (host, at_ms);

CREATE TABLE models (
  kind TEXT NOT NULL, version INTEGER NOT NULL, created_ms INTEGER NOT NULL, meta TEXT NOT NULL,
  body BLOB NOT NULL, PRIMARY KEY (kind, version)
) STRICT;
CREATE TABLE states (
  key TEXT PRIMARY KEY, body TEXT NOT NULL, changed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
  },
  {
    version: 2,
    name: "signals",
    sql: `
CREATE TABLE signal_copies (
  source TEXT PRIMARY KEY, etag TEXT, last_modified TEXT, address TEXT NOT NULL,
  fetched_ms INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE signal_events (
  source TEXT NOT NULL, id TEXT NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
  body TEXT NOT NULL, PRIMARY KEY (source, id, start_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX signal_events_by_time ON signal_events (source, start_ms);
`,
  },
  {
    version: 3,
    name: "imports by source",
    sql: `
CREATE TABLE import_batches (
  id INTEGER PRIMARY KEY, source TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
  parts INTEGER NOT NULL, digest TEXT NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,
  at_ms INTEGER NOT NULL, UNIQUE (source, name)
) STRICT;
CREATE INDEX import_batches_by_state ON import_batches (state, source);
CREATE TABLE imported (
  batch INTEGER NOT NULL REFERENCES import_batches (id), series INTEGER NOT NULL,
  start_ms INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (batch, series, start_ms)
) STRICT, WITHOUT ROWID;
DROP TABLE imports;
`,
  },
  {
    version: 4,
    name: "publishers",
    sql: `
CREATE TABLE publishers (
  name TEXT PRIMARY KEY, public_key TEXT UNIQUE, names TEXT NOT NULL, trusted INTEGER NOT NULL,
  changed_by TEXT NOT NULL, changed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX manifests_by_key ON manifests (public_key);
`,
  },
  {
    version: 5,
    name: "artifacts by origin",
    sql: "CREATE INDEX manifests_by_origin ON manifests (origin_url);",
  },
  {
    version: 6,
    name: "follows",
    sql: `
CREATE TABLE follows (
  name TEXT NOT NULL, tag TEXT NOT NULL, url TEXT NOT NULL, every_ms INTEGER NOT NULL,
  added_by TEXT NOT NULL, added_ms INTEGER NOT NULL, host TEXT, revision TEXT, version TEXT,
  changed_ms REAL, PRIMARY KEY (name, tag)
) STRICT, WITHOUT ROWID;
`,
  },
];

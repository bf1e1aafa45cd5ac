/**
 * Everything a coordinator must not forget, in one file on disk. Reads are synchronous; writes
 * resolve once they are durable, and only then may anything be acknowledged.
 */
import { join } from "node:path";
import { ArtifactTable } from "./artifacts.ts";
import { AuditTable } from "./audit.ts";
import { DemandTable } from "./demand.ts";
import { FollowTable } from "./follows.ts";
import { IdentityTable } from "./identities.ts";
import { ImportTable } from "./imports.ts";
import { LedgerTable } from "./ledger.ts";
import { ModelTable } from "./models.ts";
import { Database } from "./open.ts";
import { PublisherTable } from "./publishers.ts";
import { SeriesIds } from "./series.ts";
import { SignalTable } from "./signals.ts";
import { WorkloadTable } from "./workloads.ts";

export class Store {
  readonly workloads: WorkloadTable;
  readonly artifacts: ArtifactTable;
  readonly identities: IdentityTable;
  readonly audit: AuditTable;
  readonly ledger: LedgerTable;
  readonly demand: DemandTable;
  readonly imports: ImportTable;
  readonly models: ModelTable;
  readonly signals: SignalTable;
  readonly publishers: PublisherTable;
  readonly follows: FollowTable;
  readonly #db: Database;

  private constructor(db: Database) {
    this.#db = db;
    this.workloads = new WorkloadTable(db);
    this.artifacts = new ArtifactTable(db);
    this.identities = new IdentityTable(db);
    this.audit = new AuditTable(db);
    const ledger = new LedgerTable(db);
    this.ledger = ledger;
    const series = new SeriesIds(db);
    this.demand = new DemandTable(db, series, (outcomes) => ledger.insertOutcomes(outcomes));
    this.imports = new ImportTable(db, series);
    this.models = new ModelTable(db);
    this.signals = new SignalTable(db);
    this.publishers = new PublisherTable(db);
    this.follows = new FollowTable(db);
  }

  /** Opens or makes `DIR/prestage.db`; see `Database.open` for what it refuses. */
  static open(dir: string): Store {
    return new Store(Database.open(join(dir, "prestage.db")));
  }

  /** Runs `work` in the next shared transaction; resolves once it is on disk. */
  commit<T>(work: () => T): Promise<T> {
    return this.#db.commit(work);
  }

  /** Synced transactions so far, and the writers they carried. */
  get durability(): { commits: number; writers: number } {
    return { commits: this.#db.commits, writers: this.#db.writers };
  }

  close(): void {
    this.#db.close();
  }
}

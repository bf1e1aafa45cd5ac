/** What is declared and published, in memory: workloads, classes, and which version a name means. */
import { categoryKey } from "../shared/domain.ts";
import type { QosClass, Workload } from "../shared/workload.ts";
import type { ArtifactNeed } from "./plan/input.ts";
import type { Store } from "./store/store.ts";

/** Resolutions remembered; beyond it all are forgotten and looked up again. */
const NEEDS_MAX = 200_000;
const EXPLICIT_PRIORITY = 500;

export class Catalog {
  readonly #store: Store;
  readonly #needs = new Map<string, readonly ArtifactNeed[] | null>();
  #workloads = new Map<string, Workload>();
  #classes: QosClass[] = [];
  #list: Workload[] = [];
  #revision = 0;

  constructor(store: Store) {
    this.#store = store;
    this.reload();
  }

  /** Rises with every change of what agents are told about workloads. */
  get revision(): number {
    return this.#revision;
  }

  get workloads(): Workload[] {
    return this.#list;
  }

  get classes(): QosClass[] {
    return this.#classes;
  }

  workload(name: string): Workload | undefined {
    return this.#workloads.get(name);
  }

  /** After workloads or classes changed in the store. */
  reload(): void {
    this.#list = this.#store.workloads.list();
    this.#workloads = new Map(this.#list.map((w) => [w.name, w]));
    this.#classes = this.#store.workloads.classes();
    this.#needs.clear();
    this.#revision++;
  }

  /** After a version was published or a tag moved. */
  artifactsChanged(): void {
    this.#needs.clear();
  }

  /** Of the workload's QoS class; of what an operator asked for by hand for null. */
  priority(workload: string | null): number {
    if (workload === null) return EXPLICIT_PRIORITY;
    const name = this.#workloads.get(workload)?.class;
    return this.#classes.find((c) => c.name === name)?.priority ?? 100;
  }

  /** The versions a category's environment needs now; null when one is not published. */
  needs(workload: string, category: string): readonly ArtifactNeed[] | null {
    const key = categoryKey(workload, category);
    const known = this.#needs.get(key);
    if (known !== undefined) return known;
    const found = this.#resolveAll(workload, category);
    if (this.#needs.size >= NEEDS_MAX) this.#needs.clear();
    this.#needs.set(key, found);
    return found;
  }

  #resolveAll(workload: string, category: string): ArtifactNeed[] | null {
    const found: ArtifactNeed[] = [];
    for (const artifact of this.#workloads.get(workload)?.artifacts ?? []) {
      const name = artifact.name.replaceAll("{category}", category);
      const { version, tag } = artifact;
      const row = this.#store.artifacts.resolve(
        name,
        version === undefined ? { tag: tag ?? "" } : { version },
      );
      if (!row) return null;
      found.push({
        ref: { name: row.name, version: row.version },
        manifestHash: row.hash,
        bytes: row.bytes,
      });
    }
    return found;
  }

  manifestHash(name: string, version: string): string | null {
    return this.#store.artifacts.resolve(name, { version })?.hash ?? null;
  }
}

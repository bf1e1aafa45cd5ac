/**
 * Whose signatures count for which artifact names. What an admin set is stored; the rest follows:
 * every enrolled host may publish, the coordinator its own names, and a host that left or joined
 * anew stays the signer of what it published before, until it is distrusted.
 */
import { PrestageError } from "../../shared/errors.ts";
import {
  ALL_HOSTS,
  COORDINATOR,
  HOSTS_PUBLISH,
  type Publisher,
  PublisherPolicy,
  publisherRefusal,
  RESERVED_PREFIX,
} from "../../shared/publishers.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { AuditTrail } from "./audit.ts";
import type { HostRecord, PublisherRecord, TrustStore } from "./records.ts";

export type PublisherView = Publisher & {
  /** Null for what nobody has changed. */
  changedBy: string | null;
  changedMs: number | null;
  /** Published versions that the key has signed. */
  versions: number;
};
type By = { name: string; address: string };
const OF_HOST = "host:";

export class Publishers {
  readonly #clock: Clock;
  readonly #store: TrustStore;
  readonly #audit: AuditTrail;
  readonly #ownKey: string;
  readonly #changed: () => void;
  #cached: { epoch: number; list: Publisher[]; policy: PublisherPolicy } | null = null;

  constructor(deps: {
    clock: Clock;
    store: TrustStore;
    audit: AuditTrail;
    ownKey: string;
    /** After a change is durable. */
    changed: () => void;
  }) {
    this.#clock = deps.clock;
    this.#store = deps.store;
    this.#audit = deps.audit;
    this.#ownKey = deps.ownKey;
    this.#changed = deps.changed;
  }

  /** What agents are told, as of the present membership epoch. */
  list(): Publisher[] {
    return this.#current().list;
  }

  policy(): PublisherPolicy {
    return this.#current().policy;
  }

  /** Throws FORBIDDEN when the signer of a version does not count any more. */
  require({
    publicKey,
    name,
    version,
  }: {
    publicKey: string;
    name: string;
    version: string;
  }): void {
    const reason = this.policy().judge(publicKey, name);
    if (reason) throw publisherRefusal(reason, `${name}@${version}`);
  }

  /** Throws FORBIDDEN when a host may not publish this name with this key. */
  checkPublication(host: string, publicKey: string, name: string): void {
    if (name.startsWith(RESERVED_PREFIX))
      throw new PrestageError(
        "FORBIDDEN",
        `names that begin with ${RESERVED_PREFIX} are the fleet's own`,
      );
    const named = this.#store.publishers.all().some((row) => row.publicKey === publicKey);
    if (!named && this.#store.identities.host(host)?.publicKey !== publicKey)
      throw publisherRefusal("key-unknown", name);
    const reason = this.policy().judge(publicKey, name);
    if (reason) throw publisherRefusal(reason, name);
  }

  /** For people: rules first, then the keys of hosts that are gone and still count. */
  views(): PublisherView[] {
    const rows = new Map(this.#store.publishers.all().map((row) => [row.name, row]));
    const signed = Map.groupBy(this.#store.publishers.signers(), (s) => s.publicKey);
    return this.list().map((publisher) => {
      const row = rows.get(publisher.name);
      const keys = publisher.publicKey === null ? this.#keysOfHosts() : [publisher.publicKey];
      const versions = keys.flatMap((key) => signed.get(key) ?? []);
      return {
        ...publisher,
        changedBy: row?.changedBy ?? null,
        changedMs: row?.changedMs ?? null,
        versions: versions.reduce((sum, v) => sum + v.versions, 0),
      };
    });
  }

  /** Adds a key, or changes the names of one that is there, of a host, or of all hosts. */
  trust(
    wish: { name: string; publicKey: string | null; names: string[] | null },
    by: By,
  ): Promise<void> {
    return this.#change("publisher.trust", wish.name, by, () => {
      const before = this.#row(wish.name);
      const publicKey = this.#keyFor(wish, before);
      const names = wish.names ?? before?.names ?? (isHosts(wish.name) ? ["*"] : null);
      if (names === null)
        throw new PrestageError("USAGE", `${wish.name}: say which names it may publish (--names)`);
      return { name: wish.name, publicKey, names, trusted: true };
    });
  }

  /** What it signed is fetched and activated no more. Throws NOT_FOUND for none such. */
  distrust(name: string, by: By): Promise<void> {
    return this.#change("publisher.distrust", name, by, () => {
      const before = this.#row(name);
      if (!before && !isHosts(name))
        throw new PrestageError("NOT_FOUND", `no publisher is called ${name}`, {
          remedy: "List them with `prestage publishers`.",
        });
      if (!before) this.#requireHost(name);
      const { publicKey, names } = before ?? { publicKey: null, names: ["*"] };
      return { name, publicKey, names, trusted: false };
    });
  }

  async #change(
    action: string,
    name: string,
    by: By,
    decide: () => Omit<PublisherRecord, "changedBy" | "changedMs">,
  ): Promise<void> {
    const entry = { actor: by.name, address: by.address, action, object: name };
    try {
      await this.#store.commit(() => {
        const row = decide();
        const changedMs = Math.round(this.#clock.now());
        this.#store.publishers.put({ ...row, changedBy: by.name, changedMs });
        const epoch = this.#store.identities.raiseEpoch();
        const detail = { publicKey: row.publicKey, names: row.names.join(","), epoch };
        this.#audit.append({ ...entry, outcome: "ok", detail });
      });
    } catch (cause) {
      if (cause instanceof PrestageError)
        this.#audit.refused({ ...entry, detail: { code: cause.code } });
      throw cause;
    }
    this.#changed();
  }

  #row(name: string): PublisherRecord | undefined {
    return this.#store.publishers.all().find((row) => row.name === name);
  }

  #keyFor(
    { name, publicKey }: { name: string; publicKey: string | null },
    before: PublisherRecord | undefined,
  ): string | null {
    if (name === COORDINATOR)
      throw new PrestageError("USAGE", `${name} is the coordinator's own key: take another name`);
    if (isHosts(name)) {
      if (publicKey !== null)
        throw new PrestageError("USAGE", `${name} has the keys of hosts: give no key`);
      this.#requireHost(name);
      return null;
    }
    const key = publicKey ?? before?.publicKey;
    if (!key)
      throw new PrestageError("USAGE", `${name} is not on the list: give its key with --key`);
    if (before && before.publicKey !== key)
      throw new PrestageError("CONFLICT", `${name} is the name of another key`, {
        remedy: "Give the new key a name of its own, and distrust the old one when it may go.",
      });
    const taken =
      this.#store.publishers.all().find((row) => row.publicKey === key && row.name !== name)
        ?.name ??
      this.#store.identities.hosts().find((host) => host.publicKey === key)?.host ??
      (key === this.#ownKey ? COORDINATOR : null);
    if (taken !== null)
      throw new PrestageError("CONFLICT", `this key is ${taken}'s`, {
        remedy: "Make a key of its own with `prestage publisher-key`.",
      });
    return key;
  }

  #requireHost(name: string): void {
    const host = name.slice(OF_HOST.length);
    if (name === ALL_HOSTS || this.#store.identities.host(host)) return;
    throw new PrestageError("NOT_FOUND", `no host is called ${host}`);
  }

  #keysOfHosts(): string[] {
    return this.#store.identities.hosts().flatMap((h) => (h.revokedMs ? [] : [h.publicKey]));
  }

  #current(): { list: Publisher[]; policy: PublisherPolicy } {
    const epoch = this.#store.identities.epoch();
    if (this.#cached?.epoch === epoch) return this.#cached;
    const hosts = this.#store.identities.hosts();
    const list = this.#derive(hosts);
    const members = hosts.filter((h) => h.revokedMs === null).map((h) => h.peerId);
    this.#cached = { epoch, list, policy: new PublisherPolicy(list, members) };
    return this.#cached;
  }

  #derive(hosts: readonly HostRecord[]): Publisher[] {
    const rows = this.#store.publishers.all().map(({ name, publicKey, names, trusted }) => {
      return { name, publicKey, names, trusted };
    });
    const all = rows.find((row) => row.name === ALL_HOSTS) ?? HOSTS_PUBLISH[0];
    const own = { name: COORDINATOR, publicKey: this.#ownKey, trusted: true };
    const keyed = rows.filter((row) => row.publicKey !== null);
    const ruled = new Map(rows.map((row) => [row.name, row]));
    const listed = new Set([this.#ownKey, ...keyed.map((row) => row.publicKey)]);
    const ofHosts: Publisher[] = [];
    const add = (host: string, publicKey: string) => {
      const name = `${OF_HOST}${host}`;
      const rule = ruled.get(name) ?? all;
      if (listed.has(publicKey) || !rule) return;
      listed.add(publicKey);
      ofHosts.push({ ...rule, name, publicKey });
    };
    for (const { host, publicKey, revokedMs } of hosts)
      if (ruled.has(`${OF_HOST}${host}`)) add(host, publicKey);
      else if (revokedMs === null) listed.add(publicKey);
    for (const { publicKey, publisher } of this.#store.publishers.signers())
      add(publisher, publicKey);
    const rule = all ? [{ ...all, publicKey: null }] : [];
    return [...rule, { ...own, names: [`${RESERVED_PREFIX}*`] }, ...keyed, ...ofHosts];
  }
}

const isHosts = (name: string) => name === ALL_HOSTS || name.startsWith(OF_HOST);

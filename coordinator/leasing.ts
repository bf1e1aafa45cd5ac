/** Budgets of staging as they stand: grants leases of them as needs change, and tells of them. */
import type { BudgetList, BudgetView } from "../shared/api-budgets.ts";
import type { HostId, Lease, Order } from "../shared/domain.ts";
import type { Gauge, Metrics } from "../shared/runtime/metrics.ts";
import type { Catalog } from "./catalog.ts";
import type { CoordinatorConfig } from "./config.ts";
import type { Fleet } from "./fleet/hosts.ts";
import {
  acknowledged,
  committedInAll,
  EMPTY_BOOK,
  grantLeases,
  type LeaseBook,
  type LeaseDemand,
  type SiteBudget,
} from "./plan/leases.ts";
import { committedBytesPerSecond, type Ledger } from "./plan/ledger.ts";

export type LeasingDeps = {
  fleet: Fleet;
  catalog: Pick<Catalog, "workload" | "priority">;
  metrics: Metrics;
};
export type LeasingFacts = {
  connected: readonly HostId[];
  orders: readonly Order[];
  /** Hosts that may stage nothing now. */
  stopped: (host: HostId) => boolean;
};

/** Times a lease is renewed in its life. */
const RENEWALS = 3;
const SCOPES = ["fleet", "site-in", "site-out"] as const;

export class Leasing {
  readonly #deps: LeasingDeps;
  readonly #qos: CoordinatorConfig["qos"];
  readonly #durationMs: number;
  readonly #limit: Gauge<"scope">;
  readonly #committed: Gauge<"scope">;
  #book: LeaseBook = EMPTY_BOOK;
  #leases: ReadonlyMap<HostId, Lease> = new Map();
  /** Until then leases of an earlier start may still be in use. */
  #inheritedUntilMs: number | null = null;
  #granted = { need: "", atMs: 0 };

  constructor(deps: LeasingDeps, config: CoordinatorConfig) {
    this.#deps = deps;
    this.#qos = config.qos;
    this.#durationMs = config.qos.leaseMs * (config.replay?.speed ?? 1);
    const gauge = (name: string, help: string) =>
      deps.metrics.gauge({ name: `prestage_budget_${name}`, help, labelNames: ["scope"] });
    this.#limit = gauge(
      "limit_bytes_per_second",
      "Budgets of staging: the fleet's, those of all sites together for what comes in and goes out",
    );
    this.#committed = gauge(
      "granted_bytes_per_second",
      "Of these budgets, what hosts may be using now by their leases and floors",
    );
  }

  lease(host: HostId): Lease | undefined {
    return this.#leases.get(host);
  }

  /** New leases are news to every agent: only when needs changed, rates came free, or in good time. */
  grant(facts: LeasingFacts, now: number): void {
    const { fleet } = this.#deps;
    // The book is not kept: after a restart hosts get their floor until all old leases are over.
    this.#inheritedUntilMs ??= fleet.all().length > 0 ? now + this.#durationMs : now;
    const demands = this.#demands(facts, now < this.#inheritedUntilMs);
    const need = JSON.stringify(
      demands.map(({ host, throttled, gives, takes, pending }) => {
        const classes = [...new Set(pending.map((p) => p.class))].sort();
        return [host, throttled, gives, takes, classes];
      }),
    );
    const before = committedInAll(this.#book, now);
    this.#book = acknowledged(this.#book, heldLeases(fleet));
    const freed = committedInAll(this.#book, now) < before;
    const fresh = now < this.#granted.atMs + this.#durationMs / RENEWALS;
    if (need === this.#granted.need && fresh && !freed) return;
    this.#granted = { need, atMs: now };
    const qos = this.#qos;
    const options = {
      budgetBytesPerSecond: qos.stagingBytesPerSecond,
      perHostBytesPerSecond: qos.perHostBytesPerSecond,
      floorBytesPerSecond: qos.floorBytesPerSecond,
      durationMs: this.#durationMs,
      site: this.#ofSite,
    };
    const enrolled = fleet.all().flatMap((h) => (h.revoked ? [] : [{ host: h.id, site: h.site }]));
    const granted = grantLeases(this.#book, { enrolled, demands }, options, now);
    this.#book = granted.book;
    this.#leases = granted.leases;
    this.#observe(now);
  }

  /** Every budget, and what hosts may be using of it now. */
  budgets(now: number): BudgetList {
    const { fleet, incoming, outgoing } = this.#book;
    const qos = this.#qos;
    const view = (scope: BudgetView["scope"], name: string, limit: number, ledger: Ledger) => ({
      scope,
      name,
      limitBytesPerSecond: limit,
      grantedBytesPerSecond: committedBytesPerSecond(ledger, now),
      hosts: ledger.size,
    });
    return {
      budgets: [
        view("fleet", "all", qos.stagingBytesPerSecond, fleet),
        ...[...incoming].map(([site, ledger]) =>
          view("site-in", site, this.#ofSite(site).inBytesPerSecond ?? 0, ledger),
        ),
        ...[...outgoing].map(([site, ledger]) =>
          view("site-out", site, this.#ofSite(site).outBytesPerSecond ?? 0, ledger),
        ),
        ...[...fleet].map(([host, holder]) =>
          view("host", host, qos.perHostBytesPerSecond, new Map([[host, holder]])),
        ),
      ],
    };
  }

  readonly #ofSite = (site: string): SiteBudget => this.#qos.sites[site] ?? this.#qos.eachSite;

  #demands(
    { connected, orders, stopped }: LeasingFacts,
    inherited: boolean,
  ): readonly LeaseDemand[] {
    const { catalog, fleet } = this.#deps;
    const pending = Map.groupBy(
      orders.filter((o) => o.taken && o.bytes > 0),
      (o) => o.host,
    );
    return connected.map((host) => ({
      host,
      throttled: stopped(host),
      gives: fleet.get(host)?.report?.lease?.gives === true,
      takes: fleet.get(host)?.report?.lease?.takes !== false,
      pending: (inherited ? [] : (pending.get(host) ?? [])).map((o) => ({
        class: catalog.workload(o.workload ?? "")?.class ?? "explicit",
        priority: catalog.priority(o.workload),
        bytes: o.bytes,
      })),
    }));
  }

  #observe(now: number): void {
    const { budgets } = this.budgets(now);
    for (const scope of SCOPES) {
      const own = budgets.filter((b) => b.scope === scope);
      const sum = (of: (b: BudgetView) => number) => own.reduce((all, b) => all + of(b), 0);
      this.#limit.set(
        { scope },
        sum((b) => b.limitBytesPerSecond),
      );
      this.#committed.set(
        { scope },
        sum((b) => b.grantedBytesPerSecond),
      );
    }
  }
}

/** The lease each host said it goes by. */
function heldLeases(fleet: Fleet): Map<HostId, string> {
  return new Map(
    fleet
      .all()
      .flatMap(({ id, report }) => (report?.lease ? [[id, report.lease.id] as const] : [])),
  );
}

import { expect, test } from "vitest";
import type { Order } from "../shared/domain.ts";
import { Metrics } from "../shared/runtime/metrics.ts";
import { budgetsText } from "./cli/budgets.ts";
import { CoordinatorConfig } from "./config.ts";
import { Fleet } from "./fleet/hosts.ts";
import { Leasing } from "./leasing.ts";

test("leasing: a thin site's hosts share its budget, and views and metrics tell so", async () => {
  const fleet = new Fleet();
  for (const [host, site] of [
    ["a", "thin"],
    ["b", "thin"],
    ["c", "wide"],
  ] as const)
    fleet.apply(host, { kind: "enrolled", site }, 0);
  const metrics = new Metrics();
  const catalog = { workload: () => undefined, priority: () => 500 };
  const config = CoordinatorConfig.parse({
    dataDir: "/tmp/x",
    qos: { sites: { thin: { inBytesPerSecond: 1e6 } } },
  });
  const leasing = new Leasing({ fleet, catalog, metrics }, config);
  const order = { kind: "stage", workload: null, taken: true, bytes: 1e9 } as const;
  const orders = ["a", "b", "c"].map((host) => ({ ...order, host }) as unknown as Order);
  // Beyond what leases of an earlier start may last.
  for (const now of [0, 20_000])
    leasing.grant({ connected: ["a", "b", "c"], orders, stopped: () => false }, now);
  const incoming = (host: string) => leasing.lease(host)?.incoming?.bytesPerSecond;
  expect(incoming("a")).toBeGreaterThan(0.4e6);
  expect((incoming("a") ?? 0) + (incoming("b") ?? 0)).toBeLessThanOrEqual(1e6);
  expect(incoming("c")).toBeUndefined();
  const site = leasing.budgets(20_000).budgets.find((b) => b.scope === "site-in");
  expect(site).toMatchObject({ name: "thin", limitBytesPerSecond: 1e6, hosts: 2 });
  expect(site?.grantedBytesPerSecond).toBeGreaterThan(0.9e6);
  expect(await metrics.text()).toContain(
    'prestage_budget_limit_bytes_per_second{scope="site-in"} 1000000',
  );
});

test("leasing: budgets are listed by what they bound", () => {
  const text = budgetsText({
    budgets: [
      {
        scope: "fleet",
        name: "all",
        limitBytesPerSecond: 50e6,
        grantedBytesPerSecond: 30e6,
        hosts: 12,
      },
      {
        scope: "site-in",
        name: "store-7",
        limitBytesPerSecond: 2.5e6,
        grantedBytesPerSecond: 2.5e6,
        hosts: 3,
      },
    ],
  });
  expect(text.split("\n").slice(1, 3)).toEqual([
    expect.stringMatching(/^fleet +all +50.0 MB\/s +30.0 MB\/s +12$/),
    expect.stringMatching(/^into site +store-7 +2.5 MB\/s +2.5 MB\/s +3$/),
  ]);
});

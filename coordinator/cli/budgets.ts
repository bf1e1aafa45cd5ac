/** `prestage budgets`: how much staging may take of links, and how much hosts were granted of it. */
import type { Command } from "commander";
import type { BudgetList, BudgetView } from "../../shared/api-budgets.ts";
import type { Shell } from "../../shared/cli/command.ts";
import { bytes, table } from "../../shared/cli/text.ts";
import { addApiCommand } from "./session.ts";

const SCOPES: Record<BudgetView["scope"], string> = {
  fleet: "fleet",
  "site-in": "into site",
  "site-out": "out of site",
  host: "host",
};

export function addBudgets(program: Command, shell: Shell, group: string): void {
  addApiCommand(program, shell, {
    usage: "budgets",
    group,
    summary: "budgets of staging, and what hosts were granted of them",
    description:
      "Lists the budgets of staging in bytes per second on the wire: of the fleet, of sites for " +
      "what comes in from outside and what goes out, and of each host. They are set under `qos` in " +
      "coordinator.yaml; what a request waits for is not held by them.",
    run: async (call, api) => {
      const list = await api.get<BudgetList>("budgets");
      call.show(list, () => budgetsText(list));
    },
  });
}

export function budgetsText({ budgets }: BudgetList): string {
  return table(
    budgets,
    [
      { title: "BUDGET", value: (b) => SCOPES[b.scope] },
      { title: "NAME", value: (b) => b.name },
      { title: "LIMIT", value: (b) => `${bytes(b.limitBytesPerSecond)}/s`, right: true },
      { title: "GRANTED", value: (b) => `${bytes(b.grantedBytesPerSecond)}/s`, right: true },
      { title: "HOSTS", value: (b) => (b.scope === "host" ? null : String(b.hosts)), right: true },
    ],
    "no host is enrolled",
  );
}

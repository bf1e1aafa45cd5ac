/** `prestage plan`, `why`: what is wanted, for what reason, and what was refused. */
import type { Command } from "commander";
import type { LedgerEntry, PlanView, WhyView } from "../../shared/api.ts";
import type { Shell } from "../../shared/cli/command.ts";
import { refText } from "../../shared/cli/refs.ts";
import { bytes, type Column, duration, percent, table, time } from "../../shared/cli/text.ts";
import type { Order } from "../../shared/domain.ts";
import { addApiCommand } from "./session.ts";

export function addPlan(program: Command, shell: Shell, group: string): void {
  addApiCommand<{ workload?: string; host?: string; all?: boolean }>(program, shell, {
    usage: "plan",
    group,
    summary: "what is to be held and kept warm where, and why",
    examples: [
      ["prestage plan --workload maps", "the orders for one workload"],
      ["prestage plan --all", "also what was weighed and not done, with the reason"],
    ],
    setup: (command) => {
      command
        .option("--workload <name>", "only this workload")
        .option("--host <name>", "only this host")
        .option("--all", "also the refused candidates");
    },
    run: async (call, api) => {
      const { workload, host, all } = call.options;
      const query = { workload, host, includeRefused: all === true };
      const plan = await api.get<PlanView>("plan", query);
      call.show(plan, () => planText(plan));
    },
  });
  addWhy(program, shell, group);
}

export function planText(plan: PlanView): string {
  const head = `plan ${plan.version} of ${time(plan.madeMs)}${plan.paused ? ", paused" : ""}\n`;
  return head + ordersText(plan.orders);
}

function ordersText(orders: readonly Order[]): string {
  const columns: Column<Order>[] = [
    { title: "DO", value: (o) => (o.taken ? o.kind : `no ${o.kind}`) },
    { title: "WHAT", value: subject },
    { title: "HOST", value: (o) => o.host },
    { title: "REASON", value: (o) => o.reason },
    { title: "P", value: (o) => percent(o.probability), right: true },
    { title: "NEEDS", value: (o) => percent(o.threshold), right: true },
    { title: "LEAD", value: (o) => duration(o.leadMs), right: true },
    { title: "BY", value: (o) => time(o.deadlineMs).slice(11) },
    { title: "BYTES", value: (o) => bytes(o.bytes), right: true },
    { title: "COST", value: (o) => (o.stageCost + o.holdCost).toFixed(2), right: true },
    { title: "GAIN", value: (o) => o.expectedGain.toFixed(2), right: true },
    { title: "AFFINITY", value: (o) => o.affinity.toFixed(2), right: true },
  ];
  return table(orders, columns, "no orders");
}

function subject(order: Order): string {
  if (order.workload === null) return order.artifacts.map(refText).join(", ");
  return order.category === null ? order.workload : `${order.workload}/${order.category}`;
}

function addWhy(program: Command, shell: Shell, group: string): void {
  addApiCommand(program, shell, {
    usage: "why <target>",
    group,
    summary: "why something was staged, warmed, routed, or not",
    description:
      "Explains a workload, WORKLOAD/CATEGORY, host or NAME@VERSION: the forecast, the present " +
      "candidates with cost and gain, and what became of earlier decisions.",
    examples: [["prestage why maps/eu", "why maps' category eu is warm, or is not"]],
    run: async (call, api) => {
      const view = await api.get<WhyView>("why", { target: call.arg(0) });
      call.show(view, () => whyText(view));
    },
  });
}

export function whyText(view: WhyView): string {
  const ledger = table(
    view.ledger,
    [
      { title: "AT", value: (row) => time(row.atMs) },
      { title: "DID", value: (row: LedgerEntry) => `${row.order.kind} ${subject(row.order)}` },
      { title: "HOST", value: (row) => row.order.host },
      { title: "P", value: (row) => percent(row.forecast.probability), right: true },
      { title: "OUTCOME", value: (row) => row.outcome ?? "open" },
      { title: "REWARD", value: (row) => row.reward?.toFixed(2), right: true },
    ],
    "nothing was decided before",
  );
  const summary = view.summary.map((line) => `${line}\n`).join("");
  return `${summary}\nnow\n${ordersText(view.orders)}\nbefore\n${ledger}`;
}

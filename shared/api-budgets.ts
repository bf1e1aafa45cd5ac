/** What the API tells of the budgets of staging. */
import { z } from "zod";

const BytesPerSecond = z.number().min(0);

export const BudgetView = z.object({
  /** `site-in`, `site-out`: what staging brings into a site from outside it, and takes out of it. */
  scope: z.enum(["fleet", "site-in", "site-out", "host"]),
  /** Of the site or the host; `all` for the fleet. */
  name: z.string(),
  /** Bytes on the wire, real time. */
  limitBytesPerSecond: BytesPerSecond,
  /** What hosts may be using of it now, by their leases and floors. */
  grantedBytesPerSecond: BytesPerSecond,
  /** Hosts that share it. */
  hosts: z.number().int().min(0),
});
export type BudgetView = z.infer<typeof BudgetView>;

export const BudgetList = z.object({ budgets: z.array(BudgetView) });
export type BudgetList = z.infer<typeof BudgetList>;

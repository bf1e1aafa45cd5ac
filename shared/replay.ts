/** Settings of a replay: the demand clock of every process of a demo runs `speed` times as fast. */
import { z } from "zod";
import { type Clock, scaledClock } from "./runtime/clock.ts";

export const ReplaySettings = z.strictObject({
  speed: z.number().min(1).max(1000).describe("Demand milliseconds per real millisecond."),
  startMs: z.number().describe("Real time at which the demand clock showed epochMs."),
  epochMs: z.number().describe("Demand time at startMs."),
});
export type ReplaySettings = z.infer<typeof ReplaySettings>;

/** The clock by which demand, plans, keep-alive and leases are timed. */
export function demandClock(real: Clock, replay: ReplaySettings | undefined): Clock {
  return replay ? scaledClock(real, replay) : real;
}

/** What was learned, as it comes back from the store. */
import { z } from "zod";
import { type EffectState, ZONES } from "./effects.ts";

const Sums = z.object({ actual: z.number().min(0), expected: z.number().min(0) });
const Cell = z.tuple([z.number().min(0), z.number().min(0)]);
const Zone = Sums.extend({ evidence: z.number(), cells: z.record(z.string(), Cell) });
const Pair = z.object({
  occurrences: z.number(),
  learned: z.array(z.number()),
  zones: z.partialRecord(z.enum(ZONES), Zone),
});
const State = z.object({
  version: z.literal(1),
  signals: z.record(z.string(), z.record(z.string(), Pair)),
  noise: z.record(z.string(), z.object({ variance: z.number(), windows: z.number() })),
});

/** Null when there is none, or it is of another version: it is then learned anew. */
export function readState(value: unknown): EffectState | null {
  return State.safeParse(value).data ?? null;
}

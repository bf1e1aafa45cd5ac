/** One seed, run once or twice; the second run has to decide as the first did. */
import { Run, type RunOptions, type RunResult } from "./run.ts";

export const SAME = "same seed, same decisions";

export async function simulate(
  seed: number,
  options: RunOptions,
  { twice }: { twice: boolean },
): Promise<RunResult> {
  const result = await new Run(seed, options).result();
  if (!twice || result.violation) return result;
  const again = await new Run(seed, options).result();
  if (again.digest === result.digest) return result;
  const message = `${SAME}: ${result.digest} and then ${again.digest}`;
  return { ...result, violation: { invariant: SAME, message, lines: [] } };
}

/** Assertions that stay on: a broken one is a bug and ends the process. */
export class AssertionFailure extends Error {
  override name = "AssertionFailure";
}

export function assert(condition: unknown, claim: string): asserts condition {
  if (!condition) throw new AssertionFailure(`does not hold: ${claim}`);
}

/** For the end of a switch over a closed set. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`unreachable: ${JSON.stringify(value)}`);
}

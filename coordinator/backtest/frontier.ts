/**
 * Families of policies compared over all their settings: cold minutes against idle time. Between
 * two settings of a family the straight line can be had, by giving each category one or the other;
 * every family begins at keeping nothing, which costs no idle time.
 */

/** Shares of what the reference policy has: 1 = as much. */
export type Point = { name: string; cold: number; waste: number; loads: number };

export type Frontier = { family: string; points: Point[] };

/** The lower left hull, by rising waste. */
export function hull(points: readonly Point[]): Point[] {
  const sorted = points.toSorted((a, b) => a.waste - b.waste || a.cold - b.cold);
  const kept: Point[] = [];
  for (const point of sorted) {
    const last = kept.at(-1);
    if (last && point.cold >= last.cold) continue;
    while (kept.length >= 2 && above(kept.at(-2), kept.at(-1), point)) kept.pop();
    kept.push(point);
  }
  return kept;
}

function above(a: Point | undefined, b: Point | undefined, c: Point): boolean {
  if (!a || !b) return false;
  return (b.waste - a.waste) * (c.cold - a.cold) <= (c.waste - a.waste) * (b.cold - a.cold);
}

/** Least cold share at that waste. */
export function coldAt(hulled: readonly Point[], waste: number): number {
  const [first] = hulled;
  if (!first) return Number.POSITIVE_INFINITY;
  let before = first;
  for (const point of hulled) {
    if (point.waste >= waste) {
      const width = point.waste - before.waste;
      const share = width > 0 ? (waste - before.waste) / width : 1;
      return before.cold + Math.max(0, share) * (point.cold - before.cold);
    }
    before = point;
  }
  return before.cold;
}

const STEPS = 400;

/** Mean cold share over a range of waste, by the trapezoid rule. */
export function area(points: readonly Point[], from: number, to: number): number {
  const hulled = hull(points);
  let sum = 0;
  for (let i = 0; i <= STEPS; i++) {
    const weight = i === 0 || i === STEPS ? 0.5 : 1;
    sum += weight * coldAt(hulled, from + ((to - from) * i) / STEPS);
  }
  return sum / STEPS;
}

/** Points that another family's point beats or equals in all three, and beats in one. */
export function dominated(
  points: readonly Point[],
  others: readonly Point[],
): { point: Point; by: Point }[] {
  return points.flatMap((point) => {
    const by = others.find(
      (other) =>
        other.cold <= point.cold &&
        other.waste <= point.waste &&
        other.loads <= point.loads &&
        (other.cold < point.cold || other.waste < point.waste || other.loads < point.loads),
    );
    return by ? [{ point, by }] : [];
  });
}

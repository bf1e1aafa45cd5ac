/**
 * Before a category has shown anything: it may be like any other of its workload. What those are
 * forecast is put together as one distribution.
 */
import { LEVELS } from "./levels.ts";

const L = LEVELS.length;
/** Share of the probability that is nearest to each level. */
const MASSES = LEVELS.map((level, l) => {
  const low = l === 0 ? 0 : (level + (LEVELS[l - 1] ?? 0)) / 2;
  const high = l === L - 1 ? 1 : (level + (LEVELS[l + 1] ?? 1)) / 2;
  return high - low;
});

/** Of sums, so that the order of what is summed does not matter. */
const ROUNDING = 1e-9;

/** Rows of `LEVELS` of `bins` bins; of each of `all`, none for one that is as good as silent. */
export function mixtureOf(
  all: readonly (Float64Array | null | undefined)[],
  bins: number,
): Float64Array {
  const out = new Float64Array(bins * L);
  const order = all.flatMap((_, i) => MASSES.map((mass, l) => ({ i, l, mass, value: 0 })));
  for (let bin = 0; bin < bins; bin++) {
    for (const point of order) point.value = all[point.i]?.[bin * L + point.l] ?? 0;
    order.sort((a, b) => a.value - b.value);
    let below = 0;
    let at = 0;
    for (const [l, level] of LEVELS.entries()) {
      while (
        at < order.length - 1 &&
        below + (order[at]?.mass ?? 0) < level * all.length - ROUNDING
      )
        below += order[at++]?.mass ?? 0;
      out[bin * L + l] = order[at]?.value ?? 0;
    }
  }
  return out;
}

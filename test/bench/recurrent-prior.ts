/**
 * Makes the weights that the product comes with: `node test/bench/recurrent-prior.ts`. Learned from
 * the first three quarters of the recorded series of `recurrent-series.ts`, so that none of the
 * series the whole engine is judged by, and no last quarter of any, is in them.
 */
import { writeFileSync } from "node:fs";
import { refreshNetwork } from "../../coordinator/forecast/recurrent/learning.ts";
import { PRIOR_FILE } from "../../coordinator/forecast/recurrent/prior.ts";
import { TRAINING } from "../../coordinator/forecast/recurrent/trainer.ts";
import { recordedSeries } from "./recurrent-series.ts";

const AHEAD_MAX = 60;
const SEEN_SHARE = 0.75;

const series = recordedSeries().map(({ startMs, binMs, values }) => ({
  startMs,
  binMs,
  counts: Float32Array.from(values.subarray(0, Math.floor(SEEN_SHARE * values.length))),
}));
const training = { ...TRAINING, steps: 3_000, aheadMax: AHEAD_MAX };
const { network, loss } = await refreshNetwork({ series, from: null, training, seed: "prior" });
if (!network) throw new Error("nothing was learned");
writeFileSync(
  PRIOR_FILE,
  `${JSON.stringify({ weights: network, aheadMax: AHEAD_MAX }, null, 2)}\n`,
);
process.stdout.write(`${series.length} series, held-out loss ${loss.toFixed(4)}: ${PRIOR_FILE}\n`);

/**
 * One refresh of the network: it learns from all series at once, goes on from the weights in use,
 * and takes their place only when it does better on the last part of every series, which it did
 * not learn from. Takes seconds of one core: see `refresh.ts` for how that is kept off the
 * coordinator's thread.
 */
import { seededRandom } from "../../../shared/runtime/random.ts";
import { fromState, initialWeights, SIZES, toState, type WeightsState } from "./network.ts";
import { examples, lossOn, RecurrentTrainer, type TrainingOptions } from "./trainer.ts";
import { filled, PAST_MIN, type Series } from "./window.ts";

export type Refresh = {
  /** NaN where a bin was not measured. */
  series: { startMs: number; binMs: number; counts: Float32Array }[];
  /** The weights in use. */
  from: WeightsState | null;
  training: TrainingOptions;
  /** The same seed and series give the same weights. */
  seed: string;
};

export type Refreshed = {
  /** Null when there was too little to learn from, or the weights in use are no worse. */
  network: WeightsState | null;
  /** Mean pinball loss on the part held out, in mean errors of seasonal naive. */
  loss: number;
  /** Of the weights in use; null without. */
  lossBefore: number | null;
};

/** The last part of each series is held out, and so many windows of it are looked at. */
const HELD_SHARE = 0.1;
const HELD_WINDOWS = 512;

export async function refreshNetwork(request: Refresh): Promise<Refreshed> {
  const random = seededRandom(request.seed);
  const series = request.series
    .map(({ startMs, binMs, counts }) => ({ startMs, binMs, values: filled(counts, binMs) }))
    .filter(({ values }) => values.length > PAST_MIN);
  const { aheadMax } = request.training;
  const held = examples(
    series,
    { rows: HELD_WINDOWS, aheadMax, fromShare: 1 - HELD_SHARE },
    random.fork("held"),
  );
  const before = request.from === null ? null : fromState(request.from);
  const lossBefore = before && held.length > 0 ? lossOn(before.weights, before.sizes, held) : null;
  const nothing = { network: null, loss: lossBefore ?? Number.NaN, lossBefore };
  if (held.length === 0) return nothing;

  const sizes = before?.sizes ?? SIZES;
  const start = before?.weights ?? initialWeights(random.fork("weights"), sizes);
  const trainer = await RecurrentTrainer.open(sizes);
  try {
    const learned = series.map(withoutHeld).filter(({ values }) => values.length > PAST_MIN);
    if (learned.length === 0) return nothing;
    const { training } = request;
    const trained = await trainer.train(start, learned, held, training, random.fork("batches"));
    const { weights, loss } = trained;
    const better = Number.isFinite(loss) && (lossBefore === null || loss < lossBefore);
    return { network: better ? toState(weights, sizes) : null, loss, lossBefore };
  } finally {
    await trainer.close();
  }
}

function withoutHeld(series: Series): Series {
  const end = Math.floor(series.values.length * (1 - HELD_SHARE));
  return { ...series, values: series.values.subarray(0, end) };
}

/**
 * Experts of the forecast that learn from all series together or come from users: the recurrent
 * network, refreshed in a thread of its own, and users' models, each in a process of its own. The
 * forecaster weighs them like its others and never waits for them.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import type { ForecastModel, ForecastModelList, ModelAddition } from "../shared/api-models.ts";
import { categoryKey, DEMAND_BIN_MS } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import { type Clock, every } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import { EXPECTED, MODEL_BYTES_MAX } from "./forecast/imported/contract.ts";
import { type Asked, ImportedModels } from "./forecast/imported/models.ts";
import type { Past } from "./forecast/model.ts";
import { RecurrentExpert, RecurrentState } from "./forecast/recurrent/expert.ts";
import type { Refresh } from "./forecast/recurrent/learning.ts";
import { priorState } from "./forecast/recurrent/prior.ts";
import { refreshInWorker } from "./forecast/recurrent/refresh.ts";
import { TRAINING } from "./forecast/recurrent/trainer.ts";
import type { DemandSource } from "./forecast/source.ts";
import type { Store } from "./store/store.ts";

export type ExpertsDeps = {
  clock: Clock;
  demandClock: Clock;
  log: Log;
  store: Store;
  history: DemandSource;
};

const LOOK_MS = 2_000;
/** The start of a daemon has better to do. */
const FIRST_MS = 60_000;
const REFRESH_MS = 6 * 3_600_000;
/** A first look at new demand must not wait so long. */
const RETRY_MS = 900_000;
/** Bins ahead that the network learns: what the forecaster scores. */
const AHEAD_MAX = 60;
/** The weights in use are near already. */
const REFINE_STEPS = 600;
/** Bins of all series together that one refresh is given, and of one series. */
const TRAIN_BINS = 6_000_000;
const SERIES_BINS_MAX = 8 * 1440;
const SERIES_BINS_MIN = 240;
/** Series between two turns of the event loop. */
const SLICE = 20;
const STATE = "forecast-recurrent";
const KIND = "forecast-model:";

const ModelMeta = z.object({
  sha256: z.string(),
  addedBy: z.string(),
  context: z.number(),
  horizon: z.number(),
  batches: z.boolean(),
});

export class Experts {
  readonly recurrent = new RecurrentExpert();
  readonly #deps: ExpertsDeps;
  readonly #imported: ImportedModels;
  #refreshDueMs: number;
  #refreshes = 0;
  #askedMinute = -1;

  /** Without `learns` the network stays as it is: a replay has to be the same each time. */
  constructor(deps: ExpertsDeps, { learns }: { learns: boolean }) {
    this.#deps = deps;
    this.#refreshDueMs = learns ? deps.clock.monotonic() + FIRST_MS : Number.POSITIVE_INFINITY;
    this.#imported = new ImportedModels(deps);
    const state = RecurrentState.safeParse(deps.store.models.state(STATE));
    if (!state.success || !this.recurrent.use(state.data)) this.recurrent.use(priorState());
  }

  /** See `Outlook`. */
  outlook(key: string, past: Past): Map<string, Float64Array> {
    const rows = new Map<string, Float64Array>();
    const fromMs = past.startMs + past.counts.length * past.binMs;
    for (const [name, answer] of this.#imported.outlook(key, fromMs, past.binMs))
      rows.set(`model:${name}`, answer);
    if (this.recurrent.awake) rows.set("recurrent", this.recurrent.fit(past).predict(AHEAD_MAX));
    return rows;
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#startStored();
    try {
      await Promise.all([
        every(this.#deps.clock, LOOK_MS, signal, () => this.#askIfDue(signal)),
        every(this.#deps.clock, LOOK_MS, signal, () => this.#refreshIfDue(signal)),
      ]);
    } finally {
      this.#imported.close();
    }
  }

  list(): ForecastModelList {
    return {
      models: this.#deps.store.models.list(KIND).map(({ kind, createdMs, meta, bytes }) => {
        const { sha256, addedBy, context, horizon } = ModelMeta.parse(meta);
        const name = kind.slice(KIND.length);
        const about = { name, bytes, sha256, addedMs: createdMs, addedBy, context, horizon };
        return { ...about, ...this.#imported.state(name) };
      }),
    };
  }

  async add({ name, onnx }: ModelAddition, by: string): Promise<ForecastModel> {
    const body = Buffer.from(onnx, "base64");
    if (body.byteLength > MODEL_BYTES_MAX)
      throw new PrestageError("TOO_LARGE", `a model has at most ${MODEL_BYTES_MAX} bytes`);
    if (body.byteLength === 0)
      throw new PrestageError("USAGE", `an empty file is no model. Expected ${EXPECTED}`);
    const shape = await this.#imported.start(name, body);
    const { models } = this.#deps.store;
    const version = (models.versions(KIND + name).at(-1) ?? 0) + 1;
    const sha256 = createHash("sha256").update(body).digest("hex");
    const meta = { sha256, addedBy: by, ...shape };
    await models.put({ kind: KIND + name, version, meta, body }, { keep: 1 });
    const added = this.list().models.find((model) => model.name === name);
    if (!added) throw new PrestageError("NOT_FOUND", `${name} was removed meanwhile`);
    return added;
  }

  async remove(name: string): Promise<ForecastModelList> {
    const { models } = this.#deps.store;
    if (models.versions(KIND + name).length === 0)
      throw new PrestageError("NOT_FOUND", `no forecast model is called ${name}`);
    this.#imported.remove(name);
    await models.remove(KIND + name);
    return this.list();
  }

  async #startStored(): Promise<void> {
    const { models } = this.#deps.store;
    for (const { kind, meta } of models.list(KIND)) {
      const body = models.get(kind)?.body;
      const name = kind.slice(KIND.length);
      if (!body) continue;
      await this.#imported.start(name, body).catch((cause: unknown) => {
        this.#imported.failed(name, ModelMeta.parse(meta), cause);
      });
    }
  }

  async #askIfDue(signal: AbortSignal): Promise<void> {
    const { history, demandClock } = this.#deps;
    const bins = this.#imported.context;
    const minute = Math.floor(demandClock.now() / DEMAND_BIN_MS);
    if (bins === 0 || minute === this.#askedMinute) return;
    this.#askedMinute = minute;
    const toMs = minute * DEMAND_BIN_MS;
    const range = { fromMs: toMs - bins * DEMAND_BIN_MS, toMs };
    const asked: Asked[] = [];
    for (const { workload, category } of history.keys()) {
      const series = history.series(workload, category, null, range);
      if (series.counts.some((count) => count > 0))
        asked.push({ key: categoryKey(workload, category), ...series });
      await this.#breathe(asked.length, signal);
    }
    await this.#imported.ask(asked);
  }

  async #refreshIfDue(signal: AbortSignal): Promise<void> {
    const { clock, log, store } = this.#deps;
    if (clock.monotonic() < this.#refreshDueMs) return;
    const series = await this.#trainingSeries(signal);
    this.#refreshDueMs = clock.monotonic() + RETRY_MS;
    if (series.length === 0) return;
    const from = this.recurrent.state()?.weights ?? null;
    const training = { ...TRAINING, steps: REFINE_STEPS, aheadMax: AHEAD_MAX };
    const seed = `refresh ${this.#refreshes++}`;
    const startMs = clock.monotonic();
    const refreshed = await refreshInWorker(
      { series, from, training, seed },
      { clock, signal },
    ).catch((cause: unknown) => {
      if (signal.aborted) return null;
      log.error({ err: cause }, "recurrent network not refreshed");
      return null;
    });
    this.#refreshDueMs = clock.monotonic() + REFRESH_MS;
    if (!refreshed) return;
    const { network, loss, lossBefore } = refreshed;
    const seconds = (clock.monotonic() - startMs) / 1000;
    const better = network !== null;
    log.info(
      { series: series.length, seconds, loss, lossBefore, better },
      "recurrent network refreshed",
    );
    if (!network) return;
    const state = { weights: network, aheadMax: AHEAD_MAX };
    this.recurrent.use(state);
    await store.models.setState(STATE, state);
  }

  /** The last days of every series that has any. */
  async #trainingSeries(signal: AbortSignal): Promise<Refresh["series"]> {
    const { history, demandClock } = this.#deps;
    const keys = history.keys();
    const most = Math.floor(TRAIN_BINS / Math.max(1, keys.length));
    const bins = Math.max(SERIES_BINS_MIN, Math.min(SERIES_BINS_MAX, most));
    const toMs = Math.floor(demandClock.now() / DEMAND_BIN_MS) * DEMAND_BIN_MS;
    const range = { fromMs: toMs - bins * DEMAND_BIN_MS, toMs };
    const found: Refresh["series"] = [];
    for (const [i, { workload, category }] of keys.entries()) {
      const { startMs, binMs, counts } = history.series(workload, category, null, range);
      const first = counts.findIndex((count) => count > 0);
      if (first >= 0 && counts.length - first >= SERIES_BINS_MIN)
        found.push({
          startMs: startMs + first * binMs,
          binMs,
          counts: Float32Array.from(counts.subarray(first)),
        });
      await this.#breathe(i, signal);
    }
    return found;
  }

  /** Lets the event loop turn, every few series. */
  async #breathe(done: number, signal: AbortSignal): Promise<void> {
    if (done % SLICE === SLICE - 1) await this.#deps.clock.sleep(0, { signal });
  }
}

/**
 * Affinity: a score in 0..1 for one application on one host, from live metrics of the host.
 *
 * Both sides must agree on what goes into the network and in which order, so the feature vector,
 * its normalisation, what a good outcome is worth, and a plain forward pass stand here. The
 * coordinator trains (`coordinator/affinity`), agents run the exported ONNX model
 * (`agent/affinity`). A tree ensemble was refused: the graph that trains it cannot be one of plain
 * ops, and a score has to move smoothly with the metrics.
 */
import { z } from "zod";
import type { HostSample } from "./domain.ts";
import { assert } from "./runtime/assert.ts";

/** What is known of one (application, host) pair, in natural units. */
export type AffinityInput = {
  sample: Pick<
    HostSample,
    | "cpuUsed"
    | "memoryBytes"
    | "memoryFreeBytes"
    | "loopDelayMs"
    | "requestsPerSecond"
    | "diskFreeBytes"
    | "peerBytesPerSecond"
    | "originBytesPerSecond"
  >;
  /** Share of the application's demand that arrives at this host, 0..1. */
  demandShare: number;
  /** Share of the application's artifact bytes the host already holds, 0..1. */
  heldShare: number;
  /** An environment of it is warm or serving here. */
  warm: boolean;
  /** Recent first-byte time over the expected one; 1 = as expected. */
  latencyRatio: number;
  /** Recent failures, each fading with time. */
  failures: number;
};

const GIB = 1024 ** 3;
const MB = 1e6;

/** 0 at 0, 1 at `full` and above, steep at the small end. */
function logShare(value: number, full: number): number {
  return Math.min(1, Math.log1p(Math.max(0, value)) / Math.log1p(full));
}
const share = (value: number) => Math.min(1, Math.max(0, value));

/**
 * The network's inputs in their fixed order, each in 0..1. Changing one, or the order, changes
 * `FEATURES` and so makes agents refuse models made for the other list.
 */
const FEATURE_OF = {
  cpuUsed: (i: AffinityInput) => share(i.sample.cpuUsed),
  memoryFree: (i: AffinityInput) =>
    share(i.sample.memoryFreeBytes / Math.max(1, i.sample.memoryBytes)),
  /** Full at one second. */
  loopDelay: (i: AffinityInput) => logShare(i.sample.loopDelayMs, 1000),
  /** Full at 1,000 requests per second. */
  requestRate: (i: AffinityInput) => logShare(i.sample.requestsPerSecond, 1000),
  /** Full at 1 TiB. */
  diskFree: (i: AffinityInput) => logShare(i.sample.diskFreeBytes / GIB, 1024),
  /** Full at 1 GB per second. */
  peerRate: (i: AffinityInput) => logShare(i.sample.peerBytesPerSecond / MB, 1000),
  originRate: (i: AffinityInput) => logShare(i.sample.originBytesPerSecond / MB, 1000),
  demandShare: (i: AffinityInput) => share(i.demandShare),
  heldShare: (i: AffinityInput) => share(i.heldShare),
  warm: (i: AffinityInput) => (i.warm ? 1 : 0),
  /** Half at 1, one at 8 times slower, zero at 8 times faster. */
  latencyRatio: (i: AffinityInput) =>
    share(0.5 + Math.log2(Math.max(1e-9, i.latencyRatio)) / (2 * LATENCY_LOG2_MAX)),
  /** Half at two. */
  failures: (i: AffinityInput) => Math.max(0, i.failures) / (Math.max(0, i.failures) + 2),
} as const;

/**
 * Latency differences well below this are not felt, milliseconds; it is added to both sides of a
 * ratio. Lower: scores follow noise, and applications move for nothing.
 */
export const UNFELT_MS = 20;

/** log2 of the largest latency ratio that still makes a difference. */
export const LATENCY_LOG2_MAX = 3;

export type FeatureName = keyof typeof FEATURE_OF;
export const FEATURES = Object.keys(FEATURE_OF) as readonly FeatureName[];

export function featureVector(input: AffinityInput): number[] {
  return FEATURES.map((name) => {
    const value = FEATURE_OF[name](input);
    return Number.isFinite(value) ? value : 0;
  });
}

/**
 * What one request proved of the pair, 0..1: one half when it was as fast as expected, towards one
 * when faster, towards zero when slower, zero when it failed. The training target.
 */
export function goodness(o: { latencyMs: number; expectedMs: number; failed: boolean }): number {
  if (o.failed) return 0;
  return 1 / (1 + (Math.max(0, o.latencyMs) + UNFELT_MS) / (o.expectedMs + UNFELT_MS));
}

/**
 * The score before anything was learnt: what operators would say of a host. It is the target of
 * the coordinator's prior rows, and the score of an agent that has no model yet.
 */
export function priorGoodness(features: readonly number[]): number {
  const of = (name: FeatureName) => features[FEATURES.indexOf(name)] ?? 0;
  const ease =
    -2.2 * of("cpuUsed") ** 2 +
    0.8 * (of("memoryFree") - 0.5) -
    1.2 * of("loopDelay") -
    0.3 * of("requestRate") +
    0.2 * (of("diskFree") - 0.5) +
    0.3 * of("peerRate") +
    0.2 * of("originRate") +
    0.9 * of("demandShare") +
    0.8 * of("heldShare") +
    0.7 * of("warm") -
    5 * (of("latencyRatio") - 0.5) -
    2.5 * of("failures");
  return 1 / (1 + Math.exp(-ease));
}

/** A fully connected layer; `weights[i * outputs + j]` leads from input i to output j. */
export const Layer = z.object({
  inputs: z.number().int().min(1).max(256),
  outputs: z.number().int().min(1).max(256),
  weights: z.array(z.number()).max(65_536),
  bias: z.array(z.number()).max(256),
});
export type Layer = z.infer<typeof Layer>;

/** Hidden layers end in tanh, the last one in a sigmoid. */
export type Network = readonly Layer[];
export const LAYER_SIZES = [FEATURES.length, 16, 8, 1] as const;

/** The reference the ONNX graph is held to. */
export function forward(network: Network, features: readonly number[]): number {
  let values = features;
  network.forEach((layer, depth) => {
    assert(values.length === layer.inputs, "a vector as long as the layer's inputs");
    const last = depth === network.length - 1;
    const next = layer.bias.slice();
    for (let j = 0; j < layer.outputs; j++) {
      let sum = layer.bias[j] ?? 0;
      for (let i = 0; i < layer.inputs; i++)
        sum += (values[i] ?? 0) * (layer.weights[i * layer.outputs + j] ?? 0);
      next[j] = last ? 1 / (1 + Math.exp(-sum)) : Math.tanh(sum);
    }
    values = next;
  });
  return values[0] ?? 0;
}

/** `meta.json` beside `model.onnx` in the artifact that carries a model to the agents. */
export const AffinityModelMeta = z.object({
  version: z.number().int().min(1),
  features: z.array(z.string().max(64)).max(256),
  /** A vector and its score, tried by an agent before it takes the model. */
  check: z.object({ features: z.array(z.number()).max(256), score: z.number().min(0).max(1) }),
});
export type AffinityModelMeta = z.infer<typeof AffinityModelMeta>;
export const AFFINITY_ARTIFACT = "prestage-affinity-model";
export const MODEL_FILE = "model.onnx";
export const META_FILE = "meta.json";
export const MODEL_BYTES_MAX = 1 << 20;

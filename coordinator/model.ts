/**
 * Makes an affinity model an artifact: files in DATA/models/VERSION, a signed manifest whose origin
 * is this coordinator, so that agents take it like any other version: one from here, the others
 * from each other.
 */
import { createHash, type KeyObject } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  AFFINITY_ARTIFACT,
  type AffinityModelMeta,
  META_FILE,
  MODEL_FILE,
} from "../shared/affinity.ts";
import type { ManifestFile } from "../shared/domain.ts";
import { signManifest } from "../shared/manifest.ts";
import type { ModelRef } from "../shared/protocol/bodies.ts";
import type { Store } from "./store/store.ts";

export type ModelOptions = {
  dataDir: string;
  nowMs: number;
  signingKey: KeyObject;
};

/** Agents reach the coordinator as the one they are enrolled with; the gateway serves the path. */
const MODELS_URL = "prestage://coordinator/models/";

/** Durable when it resolves. A version that is there already stays as it is. */
export async function publishModel(
  store: Store,
  model: { version: number; onnx: Uint8Array; meta: AffinityModelMeta },
  { dataDir, nowMs, signingKey }: ModelOptions,
): Promise<ModelRef> {
  const version = String(model.version);
  const ref = { name: AFFINITY_ARTIFACT, version };
  const present = store.artifacts.resolve(ref.name, { version });
  if (present) return { ref, manifestHash: present.hash };
  const dir = join(dataDir, "models", version);
  mkdirSync(dir, { recursive: true });
  const contents: Record<string, Uint8Array> = {
    [META_FILE]: Buffer.from(JSON.stringify(model.meta)),
    [MODEL_FILE]: model.onnx,
  };
  const files: ManifestFile[] = Object.entries(contents)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, bytes]) => {
      writeFileSync(join(dir, path), bytes);
      const hash = createHash("sha256").update(bytes).digest("hex");
      const size = bytes.byteLength;
      return { path, mode: 0o644, bytes: size, chunks: [{ hash, bytes: size }] };
    });
  const bytes = files.reduce((sum, f) => sum + f.bytes, 0);
  const originUrl = `${MODELS_URL}${version}/`;
  const createdMs = Math.round(nowMs);
  const facts = { ...ref, createdMs, bytes, originUrl, publisher: "coordinator" };
  const signed = signManifest({ ...facts, files }, signingKey);
  await store.artifacts.put(signed, { ...facts, files: files.length }, []);
  return { ref, manifestHash: signed.hash };
}

/** What the API takes and gives about users' own forecast models. */
import { z } from "zod";
import { Name, TimeMs } from "./domain.ts";

/** Base64 of the largest model. */
const BASE64_MAX = 12 << 20;

export const ModelAddition = z.strictObject({
  name: Name,
  onnx: z.base64().max(BASE64_MAX).describe("The ONNX file, base64."),
});
export type ModelAddition = z.infer<typeof ModelAddition>;

export const ForecastModel = z.object({
  name: Name,
  bytes: z.number(),
  sha256: z.string(),
  addedMs: TimeMs,
  addedBy: z.string(),
  /** Bins of past it looks at, and bins ahead it answers for. */
  context: z.number(),
  horizon: z.number(),
  /** `failed`: it is asked no more until it is added again or the coordinator restarts. */
  state: z.enum(["ready", "starting", "failed"]),
  error: z.string().nullable(),
});
export type ForecastModel = z.infer<typeof ForecastModel>;
export const ForecastModelList = z.object({ models: z.array(ForecastModel) });
export type ForecastModelList = z.infer<typeof ForecastModelList>;

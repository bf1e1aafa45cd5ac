/** The entry of the process a user's model runs in. See `process.ts`. */
import { setPriority } from "node:os";
import { type Declared, OnnxSession } from "../../tensors/session.ts";
import { PAST, QUANTILES } from "./contract.ts";

export type Question =
  | { kind: "open"; model: Uint8Array }
  | { kind: "run"; past: Float32Array; rows: number; context: number };
export type Answer =
  | { ok: true; kind: "open"; inputs: Declared[]; outputs: Declared[] }
  | { ok: true; kind: "run"; quantiles: Float32Array }
  | { ok: false; message: string };

const NICE = 10;
const MESSAGE_MAX = 500;
let session: OnnxSession | null = null;

async function answer(question: Question): Promise<Answer> {
  if (question.kind === "open") {
    session = await OnnxSession.open(question.model);
    return { ok: true, kind: "open", inputs: session.inputs, outputs: session.outputs };
  }
  const { past, rows, context } = question;
  const given = await session?.run({ [PAST]: { data: past, shape: [rows, context] } }, [QUANTILES]);
  return { ok: true, kind: "run", quantiles: given?.[QUANTILES] ?? new Float32Array() };
}

setPriority(NICE);
process.on("message", (question: Question) => {
  void answer(question)
    .catch((cause: unknown): Answer => {
      const message = cause instanceof Error ? cause.message : String(cause);
      return { ok: false, message: `onnxruntime: ${message.slice(0, MESSAGE_MAX)}` };
    })
    .then((given) => process.send?.(given));
});
process.on("disconnect", () => process.exit());

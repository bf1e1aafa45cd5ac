/** Lines of JSON from a request's body as checked rows, one at a time. */
import { HistoryRow } from "../../shared/api.ts";
import { PrestageError } from "../../shared/errors.ts";

/** One part of an import; it has to arrive within the request timeout. */
export const HISTORY_BYTES_MAX = 16 << 20;
const LINE_BYTES_MAX = 4096;

/** Throws USAGE with the line of the first bad row, TOO_LARGE over the limits. */
export async function* historyRows(
  stream: AsyncIterable<Uint8Array>,
  bytesMax: number,
): AsyncGenerator<HistoryRow> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let bytes = 0;
  let line = 0;
  let rest = "";
  for await (const part of stream) {
    bytes += part.length;
    if (bytes > bytesMax)
      throw new PrestageError("TOO_LARGE", `a part of an import has at most ${bytesMax} bytes`);
    const lines = (rest + decode(decoder, part, line)).split("\n");
    rest = lines.pop() ?? "";
    for (const text of lines) {
      line++;
      if (text.trim() !== "") yield parseRow(text, line);
    }
    if (rest.length > LINE_BYTES_MAX) throw tooLong(line + 1);
  }
  rest += decode(decoder, undefined, line);
  if (rest.trim() !== "") yield parseRow(rest, line + 1);
}

/** Without a part: what the stream broke off in. */
function decode(decoder: TextDecoder, part: Uint8Array | undefined, line: number): string {
  try {
    return part ? decoder.decode(part, { stream: true }) : decoder.decode();
  } catch (cause) {
    throw new PrestageError("USAGE", `after line ${line}: no UTF-8`, { cause, details: { line } });
  }
}

function parseRow(text: string, line: number): HistoryRow {
  if (text.length > LINE_BYTES_MAX) throw tooLong(line);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PrestageError("USAGE", `line ${line}: no JSON`, { cause, details: { line } });
  }
  const result = HistoryRow.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const message = `line ${line}: ${issue?.path.join(".")}: ${issue?.message}`;
  throw new PrestageError("USAGE", message, { details: { line } });
}

function tooLong(line: number): PrestageError {
  return new PrestageError("TOO_LARGE", `line ${line} has over ${LINE_BYTES_MAX} bytes`, {
    details: { line },
  });
}

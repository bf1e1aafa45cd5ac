/** Sends recorded demand as one batch: staged in parts, then committed whole. */
import { createHash } from "node:crypto";
import type { HistoryRow, ImportCommit, Imported, ImportStaged } from "../../shared/api.ts";
import { secret } from "../../shared/runtime/random.ts";
import type { Api } from "./session.ts";

/** Rows of one request; the API takes at most 16 MiB at once. */
const PART_ROWS = 20_000;

export class Upload {
  readonly #api: Pick<Api, "post" | "postLines">;
  readonly #batch = secret(12);
  readonly #digest = createHash("sha256");
  #source = "";
  #parts = 0;

  constructor(api: Pick<Api, "post" | "postLines">) {
    this.#api = api;
  }

  async part(source: string, rows: readonly HistoryRow[]): Promise<void> {
    this.#source = source;
    const query = { source, batch: this.#batch, part: this.#parts++ };
    await this.#api.postLines<ImportStaged>("history", query, this.#lines(rows));
  }

  /** Makes what was sent count; at least one part was. */
  commit(what: Pick<ImportCommit, "covers" | "cutEdges">): Promise<Imported> {
    return this.#api.post<Imported>("history/commit", {
      ...what,
      source: this.#source,
      batch: this.#batch,
      parts: this.#parts,
      digest: this.#digest.digest("hex"),
    });
  }

  async *#lines(rows: readonly HistoryRow[]): AsyncGenerator<string> {
    for (let from = 0; from < rows.length; from += 500) {
      const lines = rows
        .slice(from, from + 500)
        .map((row) => `${JSON.stringify(row)}\n`)
        .join("");
      this.#digest.update(lines);
      yield lines;
    }
  }
}

/** Sends rows that are at hand, all that `source` ever says. */
export async function importRows(
  api: Pick<Api, "post" | "postLines">,
  source: string,
  rows: AsyncIterable<HistoryRow>,
): Promise<Imported> {
  const upload = new Upload(api);
  let part: HistoryRow[] = [];
  for await (const { timestampMs, workload, category, origin, count } of rows) {
    part.push({ timestampMs, workload, category, origin, count });
    if (part.length < PART_ROWS) continue;
    await upload.part(source, part);
    part = [];
  }
  await upload.part(source, part);
  return upload.commit({ covers: null, cutEdges: false });
}

/**
 * A number that rises from start to start of this host, whatever its clock says: after a power cut
 * some boards begin in the past, and what they then say would be older than what was heard before.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../shared/runtime/clock.ts";
import type { Log } from "../../../shared/runtime/log.ts";
import { ignoreMissing, writeHint } from "./disk.ts";

/** Real time where the clock was never set back. */
export async function risingStart(
  dir: string,
  { clock, log }: { clock: Clock; log: Log },
): Promise<number> {
  const path = join(dir, "started");
  const before = Number(await readFile(path, "utf8").catch(ignoreMissing));
  const startedMs = Math.max(clock.now(), Number.isFinite(before) ? before + 1 : 0);
  await writeHint(path, `${startedMs}`, log);
  return startedMs;
}

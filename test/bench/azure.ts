/** The recorded Azure functions as minute series, for benchmarks; null where the file is absent. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { MinuteSeries } from "../../coordinator/plan/replay.ts";

const FOLDER = fileURLToPath(
  new URL("../../../shared/traces/functions-azure-2019/", import.meta.url),
);

/** Functions that are neither constant nor silent; lead one minute, one second per miss. */
export function azureSeries(): MinuteSeries[] | null {
  const file = `${FOLDER}invocations.csv`;
  if (!existsSync(file)) return null;
  const memory = memoryMb();
  return readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => {
      const [, , key = "", , ...cells] = line.split(",");
      const counts = cells.map(Number);
      return {
        key,
        counts,
        startMinute: 480,
        missCost: 1,
        memoryGb: (memory.get(key) ?? 128) / 1024,
        leadMinutes: 1,
      };
    })
    .filter(({ counts }) => {
      const active = counts.filter((n) => n > 0).length;
      return active >= 4 && active <= counts.length * 0.9;
    });
}

function memoryMb(): Map<string, number> {
  const file = `${FOLDER}memory.csv`;
  if (!existsSync(file)) return new Map();
  const [head = "", ...rows] = readFileSync(file, "utf8").trim().split("\n");
  const columns = head.split(",");
  const key = columns.indexOf("HashFunction");
  const mb = columns.findIndex((c) => /pct50$/i.test(c));
  return new Map(
    rows.map((row) => {
      const cells = row.split(",");
      return [cells[key] ?? "", Number(cells[mb]) || 128] as const;
    }),
  );
}

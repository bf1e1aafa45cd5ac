/** Plain text for people: aligned tables, sizes, durations. No colour, so that it can be piped. */

export type Cell = string | number | boolean | null | undefined;
export type Column<Row> = { title: string; value: (row: Row) => Cell; right?: boolean };

/** Aligned columns, two spaces apart; numbers to the right. A table without rows says `empty`. */
export function table<Row>(rows: readonly Row[], columns: Column<Row>[], empty = "none"): string {
  if (rows.length === 0) return `${empty}\n`;
  const cells = rows.map((row) => columns.map((c) => shown(c.value(row))));
  const right = columns.map((c) => c.right ?? rows.every((row) => isNumeric(c.value(row))));
  const widths = columns.map((c, i) =>
    Math.max(width(c.title), ...cells.map((line) => width(line[i] ?? ""))),
  );
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) => pad(text, widths[i] ?? 0, right[i] ?? false))
      .join("  ")
      .trimEnd();
  return `${[columns.map((c) => c.title), ...cells].map(line).join("\n")}\n`;
}

/** `key  value` lines. */
export function pairs(entries: readonly (readonly [string, Cell])[]): string {
  const keyWidth = Math.max(0, ...entries.map(([key]) => width(key)));
  return entries.map(([key, value]) => `${pad(key, keyWidth, false)}  ${shown(value)}\n`).join("");
}

function shown(value: Cell): string {
  if (value === null || value === undefined || value === "") return "-";
  if (typeof value === "boolean") return value ? "yes" : "no";
  // Control characters from the network must not steer the terminal.
  return String(value).replace(/\p{Cc}/gu, " ");
}

const isNumeric = (value: Cell) =>
  typeof value === "number" ||
  (typeof value === "string" && /^-?[\d.]+( ?[%×a-zA-Z]{1,3})?$/.test(value));

const width = (text: string) => [...text].length;

function pad(text: string, to: number, right: boolean): string {
  const gap = " ".repeat(Math.max(0, to - width(text)));
  return right ? gap + text : text + gap;
}

/** `12.3 MB`, in powers of ten. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const step = Math.min(
    units.length - 1,
    Math.max(0, Math.floor(Math.log10(Math.abs(value) || 1) / 3)),
  );
  const scaled = value / 1000 ** step;
  return `${step === 0 ? Math.round(scaled) : scaled.toFixed(1)} ${units[step]}`;
}

/** `850 ms`, `12.3 s`, `4 min`, `2.5 h`, `3.1 d`. */
export function duration(ms: number): string {
  const size = Math.abs(ms);
  if (size < 1_000) return `${Math.round(ms)} ms`;
  if (size < 100_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (size < 100 * 60_000) return `${Math.round(ms / 60_000)} min`;
  if (size < 48 * 3_600_000) return `${(ms / 3_600_000).toFixed(1)} h`;
  return `${(ms / 86_400_000).toFixed(1)} d`;
}

/** `2026-11-21 03:42:10` in UTC. */
export function time(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Charts as SVG text, for a page without scripts: lines with dots and end labels, and bars. */

export type Line = {
  name: string;
  /** A CSS class that colours it. */
  tone: string;
  points: readonly { x: number; y: number; note?: string; marked?: boolean }[];
  dots: boolean;
};

export type Axis = {
  label: string;
  from: number;
  to: number;
  /** Of a tick. */
  text(value: number): string;
};

const WIDTH = 960;
const LEFT = 56;
const BOTTOM = 44;
const TOP = 14;
const TICKS = 6;
/** Labels are not closer than that. */
const LABEL_GAP = 15;

export function lineChart(
  lines: readonly Line[],
  { x, y, height, labelWidth }: { x: Axis; y: Axis; height: number; labelWidth: number },
): string {
  const right = WIDTH - labelWidth;
  const px = (value: number) => LEFT + ((value - x.from) / (x.to - x.from)) * (right - LEFT);
  const py = (value: number) =>
    height - BOTTOM - ((value - y.from) / (y.to - y.from)) * (height - BOTTOM - TOP);
  const parts = [grid({ x, y, px, py, height, right })];
  const labels: { text: string; tone: string; at: number; x: number }[] = [];
  for (const { name, tone, points, dots } of lines) {
    const shown = clipped(points, x, y);
    if (shown.length === 0) continue;
    const path = shown.map((p, i) => `${i === 0 ? "M" : "L"}${fix(px(p.x))} ${fix(py(p.y))}`);
    parts.push(`<path class="line ${tone}" d="${path.join("")}"/>`);
    if (dots) for (const p of shown) if (p.note) parts.push(dot(p, tone, px(p.x), py(p.y)));
    const end = shown.at(-1);
    if (end) labels.push({ text: name, tone, at: py(end.y), x: px(end.x) });
  }
  parts.push(endLabels(labels, right));
  return svg(height, parts);
}

function dot(p: Line["points"][number], tone: string, cx: number, cy: number): string {
  const r = p.marked ? 6 : 3.5;
  const title = `<title>${escaped(p.note ?? "")}</title>`;
  return `<circle class="dot ${tone}" cx="${fix(cx)}" cy="${fix(cy)}" r="${r}">${title}</circle>`;
}

/** The points in the frame, and where the line enters or leaves it. */
function clipped(points: Line["points"], x: Axis, y: Axis): Line["points"][number][] {
  const inside = (p: { x: number; y: number }) => p.x >= x.from && p.x <= x.to && p.y <= y.to;
  const kept: Line["points"][number][] = [];
  points.forEach((point, i) => {
    const before = points[i - 1];
    if (before && inside(before) !== inside(point)) {
      const edge = crossing(before, point, x, y);
      if (edge) kept.push(edge);
    }
    if (inside(point)) kept.push(point);
  });
  return kept;
}

function crossing(
  a: { x: number; y: number },
  b: { x: number; y: number },
  x: Axis,
  y: Axis,
): { x: number; y: number } | null {
  const at = (share: number) => ({ x: a.x + share * (b.x - a.x), y: a.y + share * (b.y - a.y) });
  const shares = [
    (y.to - a.y) / (b.y - a.y),
    (x.to - a.x) / (b.x - a.x),
    (x.from - a.x) / (b.x - a.x),
  ];
  const slack = 1e-9;
  for (const share of shares) {
    if (!(share >= 0 && share <= 1)) continue;
    const p = at(share);
    if (p.x >= x.from - slack && p.x <= x.to + slack && p.y <= y.to + slack) return p;
  }
  return null;
}

function grid(frame: {
  x: Axis;
  y: Axis;
  px(value: number): number;
  py(value: number): number;
  height: number;
  right: number;
}): string {
  const { x, y, px, py, height, right } = frame;
  const parts: string[] = [];
  for (const value of ticks(y)) {
    const at = fix(py(value));
    parts.push(`<line class="grid" x1="${LEFT}" x2="${right}" y1="${at}" y2="${at}"/>`);
    parts.push(
      `<text class="tick" x="${LEFT - 8}" y="${at}" dy="4" text-anchor="end">` +
        `${escaped(y.text(value))}</text>`,
    );
  }
  for (const value of ticks(x)) {
    const at = fix(px(value));
    const text = escaped(x.text(value));
    parts.push(
      `<text class="tick" x="${at}" y="${height - BOTTOM + 18}" text-anchor="middle">${text}</text>`,
    );
  }
  const middle = (LEFT + right) / 2;
  parts.push(
    `<text class="axis" x="${middle}" y="${height - 6}" text-anchor="middle">` +
      `${escaped(x.label)}</text>`,
  );
  return parts.join("");
}

/** Round values within the axis. */
export function ticks({ from, to }: Pick<Axis, "from" | "to">): number[] {
  const raw = (to - from) / TICKS;
  if (!(raw > 0)) return [from];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 2.5, 5, 10].find((m) => m * power >= raw) ?? 10) * power;
  const values: number[] = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i++)
    values.push(i * step || 0);
  return values;
}

function endLabels(
  labels: readonly { text: string; tone: string; at: number; x: number }[],
  right: number,
): string {
  let last = Number.NEGATIVE_INFINITY;
  return labels
    .toSorted((a, b) => a.at - b.at)
    .map(({ text, tone, at, x }) => {
      const y = Math.max(at, last + LABEL_GAP);
      last = y;
      const leader = `<path class="leader" d="M${fix(x + 5)} ${fix(at)}L${right + 6} ${fix(y)}"/>`;
      return `${leader}<text class="label ${tone}" x="${right + 10}" y="${fix(y)}" dy="4">${escaped(text)}</text>`;
    })
    .join("");
}

export type Bar = { name: string; tone: string; value: number; text: string };

const BAR_WIDTH = 300;
const BAR_NAME = 118;
const BAR_VALUE = 62;
const BAR_ROW = 26;

/** Rows of bars from 0; the longest fills the width. */
export function barChart(bars: readonly Bar[]): string {
  const most = Math.max(...bars.map(({ value }) => value), 1e-12);
  const room = BAR_WIDTH - BAR_NAME - BAR_VALUE;
  const rows = bars.map(({ name, tone, value, text }, i) => {
    const y = i * BAR_ROW;
    const width = Math.max(1, (value / most) * room);
    return (
      `<text class="label ${tone}" x="${BAR_NAME - 8}" y="${y + 17}" text-anchor="end">${escaped(name)}</text>` +
      `<rect class="bar ${tone}" x="${BAR_NAME}" y="${y + 5}" width="${fix(width)}" height="16" rx="2"/>` +
      `<text class="tick" x="${fix(BAR_NAME + width + 6)}" y="${y + 17}">${escaped(text)}</text>`
    );
  });
  const height = bars.length * BAR_ROW;
  return `<svg viewBox="0 0 ${BAR_WIDTH} ${height}" role="img">${rows.join("")}</svg>`;
}

function svg(height: number, parts: readonly string[]): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img">${parts.join("")}</svg>`;
}

function fix(value: number): string {
  return String(Math.round(value * 10) / 10);
}

export function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** A backtest's result as one page that needs nothing else: to be sent around and printed. */
import { bytes, duration, percent, time } from "../../shared/cli/text.ts";
import { type Axis, barChart, escaped, type Line, lineChart } from "./chart.ts";
import { hull, type Point } from "./frontier.ts";
import type { BacktestResult, PolicyResult } from "./result.ts";

const OWN = "prestage";
const REFERENCE = "fixed:10";
const MINUTE_MS = 60_000;

export function backtestPage(result: BacktestResult): string {
  const title = `Prestage on ${baseName(result.file)}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title><style>${STYLE}</style></head><body><main>
<header><h1>${escaped(title)}</h1><p class="facts">${escaped(facts(result))}</p></header>
${tiles(result)}
<section><h2>Cold starts against time loaded without use</h2>
<p>Each dot is one setting of a policy: how often it is cold, and how long it is loaded without use,
both relative to a fixed keep-alive of 10 minutes. Lower left is better.</p>
${frontierChart(result)}</section>
<section><h2>Policy by policy</h2><div class="bars">${bars(result)}</div></section>
<section><h2>Over time</h2><h3>Memory loaded</h3>${memoryChart(result)}
<h3>Cold minutes so far</h3>${coldChart(result)}</section>
<section><h2>All figures</h2>${table(result)}</section>
<section class="small"><h2>What was counted</h2>${definitions(result)}</section>
</main></body></html>
`;
}

function baseName(file: string): string {
  return file.split(/[/\\]/).at(-1) ?? file;
}

function facts(r: BacktestResult): string {
  const left = r.categoriesInFile - r.categories;
  return [
    `${count(r.requests)} recorded requests of ${count(r.categories)} categories`,
    `${duration(r.minutes * MINUTE_MS)} from ${time(r.startMs)} UTC`,
    "every policy learns from zero",
    r.warmUpMinutes > 0 ? `the first ${duration(r.warmUpMinutes * MINUTE_MS)} not counted` : "",
    left > 0 ? `${count(left)} categories left out, by chance` : "",
    r.badLines > 0 ? `${count(r.badLines)} lines could not be read` : "",
  ]
    .filter((part) => part !== "")
    .join(" · ");
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function find(result: BacktestResult, name: string): PolicyResult | undefined {
  return result.policies.find((p) => p.name === name);
}

/** The policy the page speaks for: the calibrated one, else the first of Prestage's. */
function own(result: BacktestResult): PolicyResult | undefined {
  return find(result, OWN) ?? result.policies.find((p) => p.name.startsWith(OWN));
}

function tiles(result: BacktestResult): string {
  const mine = own(result);
  if (!mine) return "";
  const tile = (value: string, text: string) =>
    `<div class="tile"><b>${escaped(value)}</b><span>${escaped(text)}</span></div>`;
  const avoidable = mine.coldShareMinutes - result.compulsoryColdShare;
  return `<div class="tiles">${[
    tile(
      change(mine.relative.cold),
      `cold starts against a fixed keep-alive of 10 minutes: ${percent2(mine.coldShareMinutes)} of the minutes with requests`,
    ),
    tile(
      change(mine.relative.memory),
      `memory held; of it idle: ${change(mine.relative.idleMemory)}`,
    ),
    tile(
      change(mine.relative.loads),
      `loads: ${count(mine.loads)}, ${count(mine.wastedLoads)} of them for nothing`,
    ),
    tile(
      percent2(Math.max(0, avoidable)),
      `cold beyond the ${percent2(result.compulsoryColdShare)} of first requests that nobody can know of`,
    ),
  ].join("")}</div>`;
}

/** `−62 %`, `+8 %`. */
function change(ratio: number): string {
  const value = Math.round((ratio - 1) * 100);
  return `${value < 0 ? "−" : "+"}${Math.abs(value)} %`;
}

function percent2(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}

const TONES: Record<string, string> = {
  prestage: "own",
  fixed: "t1",
  "hybrid-histogram": "t2",
  "greedy-dual": "t3",
  lru: "t4",
  oracle: "best",
};

function tone(name: string): string {
  return TONES[name.split(":")[0] ?? ""] ?? "t4";
}

const times: Axis["text"] = (value) => `${Math.round(value * 100) / 100}×`;

function frontierChart({ frontiers, policies, area }: BacktestResult): string {
  const named = new Set(policies.map((p) => p.name));
  const lines = frontiers
    .filter(({ points }) => points.length > 2)
    .map(({ family, points }): Line => {
      return {
        name: family,
        tone: tone(family),
        dots: true,
        points: hull(points).map((p) => dotOf(p, named)),
      };
    })
    .sort((a, b) => Number(a.tone === "own") - Number(b.tone === "own"));
  const x = { label: "loaded time without use, relative to fixed:10", from: 0, to: area.to * 1.25 };
  const y = { label: "cold", from: 0, to: 1.5 };
  return (
    `<figure>${lineChart(lines, {
      x: { ...x, text: times },
      y: { ...y, text: times },
      height: 440,
      labelWidth: 130,
    })}<figcaption>Cold minutes (upwards) against time loaded without use, both relative to fixed:10. ` +
    "Shown are the best settings of each policy; the oracle knows the future.</figcaption></figure>"
  );
}

function dotOf(p: Point, named: ReadonlySet<string>) {
  const note = `${p.name}: cold ${times(p.cold)}, idle ${times(p.waste)}, loads ${times(p.loads)}`;
  return { x: p.waste, y: p.cold, note, marked: named.has(p.name) };
}

function bars({ policies }: BacktestResult): string {
  const of = (
    title: string,
    value: (p: PolicyResult) => number,
    text: (p: PolicyResult) => string,
  ) =>
    `<figure><h3>${title}</h3>${barChart(
      policies.map((p) => ({ name: p.name, tone: tone(p.name), value: value(p), text: text(p) })),
    )}</figure>`;
  return [
    of(
      "Cold share of arrival-minutes",
      (p) => p.coldShareMinutes,
      (p) => percent2(p.coldShareMinutes),
    ),
    of(
      "Idle memory, GB·h",
      (p) => p.idleGbHours,
      (p) => p.idleGbHours.toFixed(1),
    ),
    of(
      "Loads",
      (p) => p.loads,
      (p) => count(p.loads),
    ),
  ].join("");
}

/** Policies whose course is drawn; more would hide each other. */
const DRAWN = [OWN, REFERENCE, "fixed:60", "hybrid-histogram", "oracle"];

function drawn(result: BacktestResult): PolicyResult[] {
  const chosen = DRAWN.flatMap((name) => find(result, name) ?? []);
  return chosen.length > 1 ? chosen : result.policies.slice(0, 5);
}

function memoryChart(result: BacktestResult): string {
  return timeChart(
    result,
    (p) => p.gbByMinute,
    (value) => `${Math.round(value * 10) / 10} GB`,
  );
}

function coldChart(result: BacktestResult): string {
  return timeChart(
    result,
    (p) => {
      const perPoint = result.minutes / Math.max(1, p.coldByMinute.length);
      let sum = 0;
      return p.coldByMinute.map((cold) => {
        sum += cold * perPoint;
        return sum;
      });
    },
    (value) => count(value),
  );
}

function timeChart(
  result: BacktestResult,
  of: (policy: PolicyResult) => readonly number[],
  text: Axis["text"],
): string {
  const lines = drawn(result).map((policy): Line => {
    const values = of(policy);
    const perPoint = result.minutes / Math.max(1, values.length);
    const points = values.map((y, i) => ({ x: (i + 1) * perPoint, y }));
    const faint = policy.name === "fixed:60" ? " faint" : "";
    return { name: policy.name, tone: tone(policy.name) + faint, points, dots: false };
  });
  const most = Math.max(...lines.flatMap(({ points }) => points.map((p) => p.y)), 1e-9);
  const day = result.minutes > 2 * 1440;
  const x: Axis = {
    label: day ? "days" : "hours",
    from: 0,
    to: result.minutes / (day ? 1440 : 60),
    text: (value) => String(Math.round(value * 10) / 10),
  };
  const scaled = lines.map((line) => ({
    ...line,
    points: line.points.map((p) => ({ ...p, x: p.x / (day ? 1440 : 60) })),
  }));
  const y: Axis = { label: "", from: 0, to: most * 1.05, text };
  return `<figure>${lineChart(scaled, { x, y, height: 280, labelWidth: 130 })}</figure>`;
}

type Column = { title: string; text(policy: PolicyResult): string };

const COLUMNS: readonly Column[] = [
  { title: "policy", text: (p) => p.name },
  { title: "cold minutes", text: (p) => percent2(p.coldShareMinutes) },
  { title: "cold requests", text: (p) => percent2(p.coldShareRequests) },
  { title: "half of categories under", text: (p) => percent(p.coldShareP50) },
  { title: "three quarters under", text: (p) => percent(p.coldShareP75) },
  { title: "idle", text: (p) => duration(p.idleMinutes * MINUTE_MS) },
  { title: "idle GB·h", text: (p) => p.idleGbHours.toFixed(1) },
  { title: "loads", text: (p) => count(p.loads) },
  { title: "for nothing", text: (p) => count(p.wastedLoads) },
  { title: "moved", text: (p) => bytes(p.bytesMoved) },
  { title: "mean wait", text: (p) => `${p.waitMsMean.toFixed(1)} ms` },
  { title: "wait p99", text: (p) => duration(p.waitMsP99) },
];
const LATENCY: Column = { title: "latency", text: (p) => duration(p.latencyMsMean ?? 0) };

function table({ policies }: BacktestResult): string {
  const timed = policies.some((p) => p.latencyMsMean !== null);
  const columns = timed ? [...COLUMNS, LATENCY] : COLUMNS;
  const cells = (tag: string, texts: readonly string[]) =>
    texts.map((text) => `<${tag}>${escaped(text)}</${tag}>`).join("");
  const head = cells(
    "th",
    columns.map(({ title }) => title),
  );
  const rows = policies.map(
    (p) =>
      `<tr class="${tone(p.name)}">${cells(
        "td",
        columns.map(({ text }) => text(p)),
      )}</tr>`,
  );
  return (
    `<div class="scroll"><table><thead><tr>${head}</tr></thead>` +
    `<tbody>${rows.join("")}</tbody></table></div>`
  );
}

function definitions({ definitions: d, settings, area, speed, minutes }: BacktestResult): string {
  const rows = Object.entries(d).map(
    ([name, text]) => `<dt>${escaped(name)}</dt><dd>${escaped(text)}</dd>`,
  );
  const set = Object.entries(settings)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${value}`);
  const areas = Object.entries(area.byFamily).map(([name, value]) => `${name} ${value.toFixed(3)}`);
  return `<dl>${rows.join("")}<dt>areas</dt><dd>${escaped(areas.join(", "))}</dd>
<dt>settings</dt><dd>${escaped(set.join(", "))}</dd>
<dt>speed</dt><dd>${escaped(
    `${minutes} minutes replayed ${count(speed.timesRealTime)} times as fast as they were`,
  )}</dd></dl>`;
}

const STYLE = `
:root{--ink:#1b1f24;--soft:#5b6470;--paper:#fff;--band:#f5f7f9;--rule:#dde2e8;
--own:#0b62d6;--t1:#b4540a;--t2:#7a3fb5;--t3:#1d7f4f;--t4:#8a6d00;--best:#8b95a1}
@media (prefers-color-scheme:dark){:root{--ink:#e8ebef;--soft:#a3adb8;--paper:#14171b;
--band:#1d2228;--rule:#343b44;--own:#6cabff;--t1:#f0a15c;--t2:#c79bf2;--t3:#63c795;--t4:#d9bd4e;--best:#7d8793}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1040px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:30px;line-height:1.2;margin:0 0 6px}h2{font-size:21px;margin:44px 0 6px}
h3{font-size:15px;margin:14px 0 6px;color:var(--soft);font-weight:600}
p{margin:0 0 10px;max-width:72ch}.facts,figcaption,dd,dt{color:var(--soft)}figcaption{font-size:13px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:14px;margin:24px 0 0}
.tile{background:var(--band);border-radius:8px;padding:16px 18px;border-top:3px solid var(--own)}
.tile b{display:block;font-size:32px;line-height:1.15}.tile span{font-size:14px;color:var(--soft)}
figure{margin:8px 0 0}svg{width:100%;height:auto;display:block;overflow:visible}
svg text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft)}
.bars{display:grid;grid-template-columns:repeat(auto-fit,minmax(290px,1fr));gap:8px 28px}
.grid{stroke:var(--rule);stroke-width:1}.leader{stroke:var(--rule);fill:none}
.line{fill:none;stroke-width:1.8;stroke:currentColor}.line.own{stroke-width:3}
.line.faint{stroke-width:1.2;opacity:.6}.line.best{stroke-dasharray:5 4}.dot{fill:currentColor;stroke:var(--paper);stroke-width:1.5}
svg .label{fill:currentColor}svg .label.own{font-weight:700}.bar{fill:currentColor}
.bar:not(.own){opacity:.72}
.own{color:var(--own)}.t1{color:var(--t1)}.t2{color:var(--t2)}.t3{color:var(--t3)}.t4{color:var(--t4)}
.best{color:var(--best)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13.5px;width:100%;color:var(--ink)}
th,td{text-align:right;padding:6px 8px;border-bottom:1px solid var(--rule);white-space:nowrap;
font-variant-numeric:tabular-nums}th{white-space:normal;vertical-align:bottom;color:var(--soft);
font-weight:600}th:first-child,td:first-child{text-align:left}td:first-child{font-weight:600}
tr td+td{color:var(--ink)}
.small{font-size:14px}dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px;margin:8px 0}
dt{font-weight:600}dd{margin:0}
@media print{main{max-width:none;padding:0}section{break-inside:avoid}}
@media (max-width:600px){dl{grid-template-columns:1fr}}
`;

/**
 * How fast recorded requests are read, beside peers that do less on the same bytes.
 *
 *   node test/bench/import.ts [--lines 1000000] [--rounds 3] [--pack zst|gz|none]
 *
 * Generates one log in combined format and the same as Caddy's JSON lines, then reads each in turn:
 * `import` (lines, times, rules, counts per minute: all but the sending), `readline` (Node's own
 * lines, nothing done with them), `parse` (those lines by JSON.parse or the usual expression, and
 * nothing done with that), `awk` (unpacked by zstd or gzip, one field counted). Each is a
 * process of its own; lines per second of wall time, best of the rounds, and CPU seconds. One core
 * is the aim: 300,000 lines/s.
 */
import { execFileSync } from "node:child_process";
import { createReadStream, rmSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { createGunzip, createZstdDecompress, gzipSync, zstdCompressSync } from "node:zlib";
import { Aggregate } from "../../coordinator/demand/aggregate.ts";
import { readTrace } from "../../coordinator/demand/import.ts";
import { namedByRules } from "../../coordinator/demand/naming.ts";
import { Matcher } from "../../shared/match.ts";
import { testWorkload } from "../support/workload.ts";

const { values: options } = parseArgs({
  options: {
    lines: { type: "string", default: "1000000" },
    rounds: { type: "string", default: "3" },
    pack: { type: "string", default: "zst" },
    /** Reads one file in this process and prints what it took. */
    read: { type: "string" },
    by: { type: "string", default: "import" },
  },
});
const KINDS = ["combined", "json"] as const;
const BLOCK_LINES = 50_000;
const MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec";
const COMBINED =
  /^(\S+) (\S+) (\S+) \[([^\]]+)\] "(\S+) (\S+) ([^"]+)" (\d{3}) (\d+|-) "([^"]*)" "([^"]*)"/;
const START_MS = Date.UTC(2026, 9, 1);

if (options.read !== undefined) await readAlone(options.read, options.by);
else await compare();

/** Some 25 requests a second of 40 categories; targets and clients mostly differ. */
function request(i: number) {
  const date = new Date(START_MS + i * 40);
  const url = `/shop/c${(i * 31) % 40}/item/${(i * 7907) % 100_003}?session=${(i * 104_729) % 1e6}`;
  return { date, url, client: `10.${i % 7}.${(i * 13) % 250}.${(i * 17) % 250}` };
}

function combined(i: number): string {
  const { date, url, client } = request(i);
  const [day = "", time = ""] = date.toISOString().split(/[T.]/);
  const [year, month, dayOfMonth] = day.split("-");
  const name = MONTHS.slice(Number(month) * 3 - 3, Number(month) * 3);
  return (
    `${client} - - [${dayOfMonth}/${name}/${year}:${time} +0000] "GET ${url} HTTP/1.1" 200 ` +
    `${1000 + (i % 5000)} "https://www.example.com/start" "Mozilla/5.0 (X11; Linux x86_64; ` +
    `rv:109.0) Gecko/20100101 Firefox/115.0"\n`
  );
}

function json(i: number): string {
  const { date, url, client } = request(i);
  const about = { remote_ip: client, proto: "HTTP/2.0", method: "GET", host: "shop.example" };
  return `${JSON.stringify({
    level: "info",
    ts: date.getTime() / 1000,
    logger: "http.log.access",
    msg: "handled request",
    request: { ...about, uri: url, headers: { "User-Agent": ["curl/8.5.0"] } },
    duration: 0.0012,
    size: 1000 + (i % 5000),
    status: 200,
  })}\n`;
}

async function generate(dir: string, kind: (typeof KINDS)[number]): Promise<string> {
  const file = join(dir, `${kind}.log${options.pack === "none" ? "" : `.${options.pack}`}`);
  const pack = { zst: zstdCompressSync, gz: gzipSync }[options.pack] ?? ((text: Buffer) => text);
  const make = kind === "json" ? json : combined;
  for (let from = 0; from < Number(options.lines); from += BLOCK_LINES) {
    const count = Math.min(BLOCK_LINES, Number(options.lines) - from);
    const text = Array.from({ length: count }, (_, i) => make(from + i)).join("");
    await writeFile(file, pack(Buffer.from(text)), { flag: "a" });
  }
  return file;
}

async function compare(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "prestage-bench-import-"));
  try {
    print(`${Number(options.lines).toLocaleString("en-US")} lines, ${options.pack}`);
    for (const kind of KINDS) {
      const file = await generate(dir, kind);
      const best = new Map<string, { perSecond: number; cpuSeconds: number; rssMb: number }>();
      for (let round = 0; round < Number(options.rounds); round++)
        for (const by of ["import", "readline", "parse", "awk"]) {
          const run = by === "awk" ? awk(file, kind) : apart(file, by);
          if (run.perSecond > (best.get(by)?.perSecond ?? 0)) best.set(by, run);
        }
      const own = best.get("import")?.perSecond ?? Number.NaN;
      for (const [by, { perSecond, cpuSeconds, rssMb }] of best)
        print(
          `  ${kind.padEnd(9)} ${by.padEnd(9)} ${Math.round(perSecond / 1000)} k lines/s  ` +
            `${cpuSeconds.toFixed(2)} s CPU  ${rssMb ? `${Math.round(rssMb)} MB  ` : ""}` +
            `import is ${(own / perSecond).toFixed(2)}×`,
        );
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function apart(file: string, by: string) {
  const args = [import.meta.filename, "--read", file, "--by", by];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" }));
}

function awk(file: string, kind: (typeof KINDS)[number]) {
  const cat = { zst: "zstd -dcq", gz: "gzip -dc" }[options.pack] ?? "cat";
  const field = kind === "json" ? `-F'"uri":"' '{n[substr($2,1,8)]++}` : `'{n[substr($7,1,8)]++}`;
  const script = `${cat} ${file} | awk ${field} END {print NR}'`;
  const timed = `TIMEFORMAT='%R %U %S'; time (${script})`;
  const output = execFileSync("bash", ["-c", `{ ${timed}; } 2>&1`], { encoding: "utf8" });
  const [lines = 0, seconds = 0, user = 0, system = 0] = output.split(/\s+/).map(Number);
  return { perSecond: lines / seconds, cpuSeconds: user + system, rssMb: 0 };
}

async function readAlone(file: string, by: string): Promise<void> {
  const startedMs = performance.now();
  const lines = await (by === "import" ? imported(file) : plain(file, by === "parse"));
  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage();
  print(
    JSON.stringify({
      perSecond: lines / seconds,
      cpuSeconds: (user + system) / 1e6,
      rssMb: process.resourceUsage().maxRSS / 1024,
    }),
  );
}

async function imported(file: string): Promise<number> {
  const path = { from: "path" as const, default: "none" };
  const workloads = [
    testWorkload("root", { match: { pathPrefix: "/" } }),
    testWorkload("shop", { category: { ...path, segment: 1 } }),
    testWorkload("video", { match: { host: "video.example" }, category: { ...path, segment: 0 } }),
  ];
  const trace = readTrace(file, { naming: namedByRules(new Matcher(workloads)), origins: false });
  const aggregate = new Aggregate(null);
  let bins = 0;
  for await (const rows of trace.batches())
    for (const part of aggregate.add(rows)) bins += part.length;
  for (const part of aggregate.end()) bins += part.length;
  if (bins === 0 || trace.report.badLines > 0) throw new Error("the log was not read");
  return trace.report.lines;
}

async function plain(file: string, parse: boolean): Promise<number> {
  const raw = createReadStream(file);
  const unpacked = file.endsWith(".zst")
    ? raw.pipe(createZstdDecompress())
    : file.endsWith(".gz")
      ? raw.pipe(createGunzip())
      : raw;
  let lines = 0;
  for await (const line of createInterface({ input: unpacked })) {
    if (parse && !(line.startsWith("{") ? JSON.parse(line) : COMBINED.exec(line)))
      throw new Error("the log was not read");
    lines++;
  }
  return lines;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

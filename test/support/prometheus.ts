/** A real Prometheus with a past that a test wrote, for as long as the test needs it. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "../../shared/runtime/clock.ts";

const PATHS = ["/usr/bin", "/usr/local/bin"];
const START_WITHIN_MS = 60_000;

/** Why there is none; null when there is. */
export function prometheusObstacle(): string | null {
  const missing = ["prometheus", "promtool"].filter((name) => path(name) === null);
  return missing.length === 0
    ? null
    : `no ${missing.join(" and ")} here: apt-get install prometheus`;
}

function path(name: string): string | null {
  return PATHS.map((dir) => join(dir, name)).find((file) => existsSync(file)) ?? null;
}

export type Sample = { labels: string; atMs: number; value: number };

/** One metric with these samples, as `promtool` makes blocks from. */
export function openMetrics(metric: string, type: string, samples: readonly Sample[]): string {
  const lines = samples.map(
    ({ labels, atMs, value }) => `${metric}{${labels}} ${value} ${atMs / 1000}`,
  );
  return `# TYPE ${metric.replace(/_total$/, "")} ${type}\n${lines.join("\n")}\n# EOF\n`;
}

/** Starts one in `dir` with what the texts say; `webConfig` is its file for TLS and users. */
export async function startPrometheus(
  dir: string,
  texts: readonly string[],
  options: { webConfig?: string; flags?: string[] } = {},
): Promise<{ port: number; stop(): Promise<void> }> {
  const data = join(dir, "data");
  await mkdir(data, { recursive: true });
  for (const [i, text] of texts.entries()) {
    const file = join(dir, `${i}.om`);
    await writeFile(file, text);
    const args = ["tsdb", "create-blocks-from", "openmetrics", file, data];
    await promisify(execFile)(path("promtool") ?? "", args);
  }
  await writeFile(join(dir, "prometheus.yml"), "scrape_configs: []\n");
  const args = [
    `--config.file=${join(dir, "prometheus.yml")}`,
    `--storage.tsdb.path=${data}`,
    "--storage.tsdb.retention.time=10y",
    "--web.listen-address=127.0.0.1:0",
    ...(options.flags ?? []),
  ];
  if (options.webConfig !== undefined) {
    await writeFile(join(dir, "web.yml"), options.webConfig);
    args.push(`--web.config.file=${join(dir, "web.yml")}`);
  }
  const child = spawn(path("prometheus") ?? "", args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  const ended = once(child, "exit");
  const endMs = systemClock.monotonic() + START_WITHIN_MS;
  while (!said.includes("Server is ready")) {
    if (child.exitCode !== null || systemClock.monotonic() > endMs)
      throw new Error(`prometheus does not start: ${said.slice(-2_000)}`);
    await systemClock.sleep(50);
  }
  const port = Number(/Listening on.*address=127\.0\.0\.1:(\d+)/.exec(said)?.[1]);
  return {
    port,
    stop: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

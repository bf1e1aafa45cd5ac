/** `prestage import --prometheus` against a real Prometheus and a real coordinator. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ImportResult } from "../../coordinator/cli/import.ts";
import { Store } from "../../coordinator/store/store.ts";
import { makeTestCa } from "../support/certs.ts";
import { Daemons } from "../support/daemons.ts";
import {
  openMetrics,
  prometheusObstacle,
  type Sample,
  startPrometheus,
} from "../support/prometheus.ts";

const obstacle = prometheusObstacle();
if (obstacle && process.env.CI === "true") throw new Error(`prometheus: ${obstacle}`);
if (obstacle) process.stderr.write(`tests with a real Prometheus are skipped: ${obstacle}\n`);

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Over 11,000 minutes, so that one request cannot give them all. */
const MINUTES = 12_000;
const START_MS = Math.floor((Date.now() - 9 * DAY_MS) / DAY_MS) * DAY_MS;
/** Scrapes are not at full minutes. */
const SCRAPED_MS = 15_000;
const BORN = 300;
const RESTARTS = [1000, 5000, 11_500];
const GAP = [2000, 2090] as const;
/** bcrypt of "test", as in Prometheus' own documentation. */
const USERS =
  "basic_auth_users:\n  admin: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay\n";

/** Requests of minute `i`. */
const steady = (i: number) => 3 + (i % 5);
const seldom = (i: number) => (i >= BORN && i % 40 === 20 ? 1 : 0);

/** A counter as scraped: it begins anew at restarts, and is not there before its first request. */
function counter(labels: string, requests: (i: number) => number, bornAt = 0): Sample[] {
  const samples: Sample[] = [];
  let value = 1_000_000;
  if (bornAt > 0) value = 0;
  for (let i = 0; i < MINUTES; i++) {
    if (RESTARTS.includes(i)) value = 0;
    value += requests(i);
    if (i >= GAP[0] && i < GAP[1]) continue;
    if (i < bornAt || (bornAt > 0 && value === 0)) continue;
    samples.push({ labels, atMs: START_MS + i * MINUTE_MS + SCRAPED_MS, value });
  }
  return samples;
}

const SHOP = 'job="web",instance="10.0.0.7:9100",route="cart",service="shop"';
const RARE = 'job="web",instance="10.0.0.7:9100",route="admin",service="shop"';
const NOBODY = 'job="web",instance="10.0.0.7:9100",route="health"';

let folder: string;
const daemons = new Daemons();
let server: Awaited<ReturnType<typeof startPrometheus>>;

const at = (minute: number) => new Date(START_MS + minute * MINUTE_MS).toISOString();
const ask = (query: string, ...more: string[]) => [
  ...["import", "--prometheus", `https://127.0.0.1:${server.port}`, "--query", query],
  ...["--ca", join(folder, "ca.pem"), "--user", "admin"],
  ...["--password-file", join(folder, "password"), ...more],
];
const LABELS = [
  ...["--label-workload", "service", "--label-category", "route", "--label-host", "instance"],
];
const span = (from: number, to: number) => ["--start", at(from), "--end", at(to)];
const sum = (requests: (i: number) => number, from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => requests(from + i)).reduce((a, b) => a + b, 0);

describe.skipIf(obstacle)("import from a Prometheus", () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "prestage-e2e-prometheus-"));
    daemons.folder = folder;
    const ca = await makeTestCa();
    const { cert, key } = await ca.server();
    await writeFile(join(folder, "ca.pem"), ca.caPem);
    await writeFile(join(folder, "server.pem"), cert);
    await writeFile(join(folder, "server.key"), key);
    await writeFile(join(folder, "password"), "test\n");
    const tls = `tls_server_config:\n  cert_file: ${join(folder, "server.pem")}\n  key_file: ${join(folder, "server.key")}\n`;
    const samples = [
      ...counter(SHOP, steady),
      ...counter(RARE, seldom, BORN),
      ...counter(NOBODY, () => 1),
    ];
    const text = openMetrics("http_requests_total", "counter", samples);
    [server] = await Promise.all([
      // Few samples at once: whole days of all series are too many, and must be asked for in parts.
      startPrometheus(folder, [text], {
        webConfig: USERS + tls,
        flags: ["--query.max-samples=6000"],
      }),
      daemons.startCoordinator(),
    ]);
  }, 180_000);

  afterAll(async () => {
    await Promise.all([server?.stop(), daemons.stop()]);
    await rm(folder, { recursive: true, force: true });
  }, 60_000);

  test("a counter: every request once, over restarts, gaps and births, in parts", async () => {
    const all = await daemons.json<ImportResult>(
      ask("http_requests_total", ...span(0, MINUTES), ...LABELS),
    );
    // What came before the first scrape nobody knows, and what a restart lost in a gap neither.
    const expected = {
      cart: sum(steady, 1, MINUTES),
      admin: sum(seldom, 0, MINUTES),
    };
    expect(Object.fromEntries(all.series.map((s) => [s.category, s.requests]))).toEqual(expected);
    expect(all).toMatchObject({ unmatched: 1, badLines: 0, warnings: [] });
    expect(all.unmatchedExamples[0]).toContain('route="health"');
  }, 60_000);

  test("overlapping ranges asked again change nothing", async () => {
    for (const [from, to] of [
      [0, MINUTES],
      [500, 1500],
      [3000, 9000],
    ] as const) {
      const again = await daemons.json<ImportResult>(
        ask("http_requests_total", ...span(from, to), ...LABELS),
      );
      const { duplicate, requests, replaced } = again.imported ?? {};
      expect(duplicate || requests === replaced?.requests).toBe(true);
    }
  }, 60_000);

  test("rates and increases give the same by other means", async () => {
    const query = (of: string) =>
      `sum by (service) (${of}(http_requests_total{route="cart"}[1m:15s]))`;
    const part = ["--source", "other", "--label-workload", "service", ...span(5100, 5200)];
    const rate = await daemons.json<ImportResult>(
      ask(query("rate"), "--kind", "rate", "--dry-run", ...part),
    );
    const expected = sum(steady, 5100, 5200);
    expect(rate.requests / expected).toBeCloseTo(1, 1);
    const gauge = ["--kind", "gauge", "--dry-run", ...part];
    const increase = await daemons.json<ImportResult>(ask(query("increase"), ...gauge));
    expect(increase.requests / expected).toBeCloseTo(1, 1);
  });

  test("refusals say what to do (query, password, authority, step, range without data)", async () => {
    const say = async (args: string[]) => {
      const { exit, errors } = await daemons.run(args);
      return `${exit} ${errors}`;
    };
    expect(await say(ask("sum(", ...LABELS))).toMatch(/^2 .*refused the query.*parse error/s);
    expect(await say(ask("http_requests_total"))).toMatch(/^2 .*--label-workload or --workload/s);
    expect(await say(ask("http_requests_total", ...LABELS, "--step", "30s"))).toMatch(
      /^2 .*minutes/s,
    );
    await writeFile(join(folder, "wrong"), "wrong");
    const wrong = ask("up", ...LABELS, "--password-file", join(folder, "wrong"));
    expect(await say(wrong)).toMatch(/^3 .*--token-file/s);
    const url = `https://127.0.0.1:${server.port}`;
    const untrusted = ["import", "--prometheus", url, "--query", "up", "--workload", "w"];
    expect(await say(untrusted)).toMatch(/^3 .*--ca/s);
    const before = ["--start", "2001-01-01", "--end", "2001-01-02"];
    expect(await say(ask("http_requests_total", ...LABELS, ...before))).toMatch(
      /^2 .*no requests/s,
    );
  });

  test("the store has each minute's requests (after a restart)", async () => {
    await daemons.stop();
    const store = Store.open(daemons.dataDir("coordinator"));
    const counts = new Map<number, number>();
    for (const bin of store.demand.bins({ fromMs: 0, toMs: Number.MAX_SAFE_INTEGER }))
      if (bin.category === "cart") {
        expect([bin.workload, bin.host]).toEqual(["shop", "10.0.0.7"]);
        const minute = (bin.startMs - START_MS) / MINUTE_MS;
        counts.set(minute, (counts.get(minute) ?? 0) + bin.count);
      }
    store.close();
    const inGap = (i: number) => i >= GAP[0] - 1 && i <= GAP[1] + 1;
    for (let i = 1; i < MINUTES; i++)
      if (!inGap(i)) expect([i, counts.get(i)]).toEqual([i, steady(i)]);
  }, 60_000);
});

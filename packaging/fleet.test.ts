/** Commands against a real coordinator and real agents, as processes of their own. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { HostList } from "../shared/api.ts";
import type { Schedule, StagedList, StageList, StageStatus } from "../shared/api-stages.ts";
import { systemClock } from "../shared/runtime/clock.ts";
import { Daemons, ENTRY, HOLDS_WITHIN_MS } from "../test/support/daemons.ts";

const daemons = new Daemons();
const { run, json, until } = daemons;
let folder: string;
let context: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prestage-fleet-"));
  daemons.folder = folder;
  context = daemons.context;
  await daemons.startCoordinator({ plan: { tickMs: 200 }, qos: { peakCpu: 1 } });
  await daemons.startAgents({ a: {}, b: {} });
});

afterAll(async () => {
  await daemons.stop();
  await rm(folder, { recursive: true, force: true });
});

describe("commands and a fleet", () => {
  test("join: a config to start the agent with is written", async () => {
    const config = await readFile(join(daemons.dataDir("a"), "agent.yaml"), "utf8");
    expect(config).toContain('host: "a"');
  });

  test("show it at a glance, and find nothing failed", async () => {
    expect((await run(["status"])).stdout).toMatch(/hosts +2 of 2 connected/);
    expect((await run(["hosts"])).stdout).toMatch(/^a +default/m);
    expect((await run(["doctor"])).exit).toBe(0);
    expect((await run(["top"])).stdout).toContain("no environments");
  });

  test("publish, stage everywhere, get from the other host", async () => {
    const dir = join(folder, "tiles");
    await mkdir(dir);
    await writeFile(join(dir, "tile.bin"), "x".repeat(3_000_000));
    const data = (host: string) => ["--data", join(folder, host)];
    const args = ["publish", dir, "--name", "tiles", "--version", "1", "--tag", "latest"];
    const published = await json<{ manifestHash: string }>([...args, ...data("a")]);
    expect(published.manifestHash).toMatch(/^[0-9a-f]{64}$/);
    await writeFile(join(dir, "more.txt"), "more");
    const next = ["publish", dir, "--name", "tiles", "--version", "2", ...data("a")];
    expect((await run(next)).stdout).toContain("new: 4 B in 1 chunks (");

    const staged = await json<{ done: boolean; hosts: { host: string; state: string }[] }>([
      "stage",
      "tiles@1",
      "--hosts",
      "all",
      "--wait",
      "--timeout",
      "100s",
    ]);
    expect(staged.hosts.map((h) => [h.host, h.state]).toSorted()).toEqual([
      ["a", "done"],
      ["b", "done"],
    ]);

    const copy = join(folder, "copy");
    const got = await run(["get", "tiles:latest", "-o", copy, ...data("b")]);
    expect(got.stdout).toBe(`${copy}\n`);
    expect(await readFile(join(copy, "tile.bin"), "utf8")).toHaveLength(3_000_000);
    expect((await run(["get", "tiles@1", "-o", copy, ...data("b")])).exit).toBe(5);
  });

  test("status tells what is where, why, until when and from whom", async () => {
    const { artifacts } = await json<StagedList>(["status", "tiles@1"]);
    const [tiles] = artifacts;
    expect(tiles?.hosts.map((h) => [h.host, h.state, h.why[0]?.kind])).toEqual([
      ["a", "active", "explicit"],
      ["b", "active", "explicit"],
    ]);
    const b = tiles?.hosts[1];
    expect(b?.sources).toEqual([{ from: "a", bytes: expect.any(Number) }]);
    expect(Date.now() - (b?.sinceMs ?? 0)).toBeLessThan(HOLDS_WITHIN_MS);
    const text = (await run(["status", "tiles"])).stdout;
    expect(text).toMatch(/^b +active +100\.0 % .* cancelled +explicit: by .* a 100\.0 %$/m);
    expect((await run(["status", "nothing"])).errors).toContain("not published");
    expect((await run(["status"])).stdout).toMatch(/^tiles@1 +3\.0 MB +2 /m);
  });

  test("a tag is staged as the version it means now, and one that means none is an error", async () => {
    const staged = await json<StageStatus>(["stage", "tiles:latest", "--hosts", "b", "--wait"]);
    expect(staged).toMatchObject({ ref: { name: "tiles", version: "1" }, done: true });
    const none = await run(["stage", "tiles:none", "--hosts", "b"]);
    expect(none.errors).toContain("tiles:none is not published");
  });

  test("a schedule stages at its time, is listed and cancelled; a paused staging says so", async () => {
    const at = ["stage", "tiles:latest", "--hosts", "b", "--at", "2s", "--by", "1h", "--for", "1h"];
    const { id } = await json<Schedule>(at);
    expect((await run(["stages"])).stdout).toContain(`${id}  tiles:latest on b  at `);
    await until("scheduled", async () => {
      const { stages } = await json<StageList>(["stages"]);
      return stages.some((s) => s.schedule === id && s.done && s.untilMs !== null);
    });
    const { schedules } = await json<StageList>(["stages", "cancel", id]);
    expect(schedules).toEqual([]);
    const cron = ["stage", "tiles:latest", "--hosts", "all", "--cron", "* * 1 * *", "--tz", "UTC"];
    expect((await run([...cron, "--by", "06:00"])).errors).toContain("a duration from each start");

    await json(["pause"]);
    const dir = join(folder, "late");
    await mkdir(dir);
    await writeFile(join(dir, "x.bin"), "l".repeat(100_000));
    const published = ["publish", dir, "--name", "late", "--version", "1"];
    await json([...published, "--data", join(folder, "a")]);
    const waiting = ["stage", "late@1", "--hosts", "b", "--wait", "--timeout", "2s"];
    const paused = await run(waiting);
    expect(paused.errors).toMatch(/paused \(prestage resume\)[\s\S]*still on its way/);
    await json(["resume"]);
    expect((await run([...waiting.slice(0, -1), "100s"])).exit).toBe(0);
  });

  test("a publisher's key signs only what it is trusted with, and until it is distrusted", async () => {
    const dir = join(folder, "maps");
    await mkdir(dir);
    await writeFile(join(dir, "map.bin"), "m".repeat(300_000));
    const key = join(folder, "ci.key");
    const { publicKey } = await json<{ publicKey: string }>(["publisher-key", "ci", "-o", key]);
    expect((await stat(key)).mode & 0o777).toBe(0o600);
    const data = (host: string) => ["--data", join(folder, host)];
    const publish = (name: string, version: string) =>
      run(["publish", dir, "--name", name, "--version", version, "--key", key, ...data("a")]);
    const stage = (ref: string) =>
      run(["stage", ref, "--hosts", "all", "--wait", "--timeout", "100s"]);

    const early = await publish("maps-eu", "1");
    expect([early.exit, early.errors]).toEqual([3, expect.stringContaining("on no trust list")]);
    await json(["publishers", "trust", "ci", "--key", publicKey, "--names", "maps-*"]);
    expect((await publish("tiles-eu", "1")).errors).toContain("may not publish this name");
    expect((await publish("maps-eu", "1")).exit).toBe(0);
    expect((await stage("maps-eu@1")).exit).toBe(0);
    expect((await run(["publishers"])).stdout).toMatch(/^ci +yes +maps-\* +1 /m);

    expect((await publish("maps-us", "1")).exit).toBe(0);
    await json(["publishers", "distrust", "ci"]);
    expect((await publish("maps-us", "2")).errors).toContain("distrusted");
    expect((await stage("maps-us@1")).errors).toContain("distrusted");
    await until("dropped", async () => {
      const { hosts } = await json<HostList>(["hosts"]);
      return hosts.every((h) => h.holdings.every(({ ref }) => !ref.name.startsWith("maps-")));
    });
    expect((await run(["audit"])).stdout).toMatch(/publisher\.distrust +ci/);
  });

  test("refuse to publish other bytes under the same version", async () => {
    const dir = join(folder, "other");
    await mkdir(dir);
    await writeFile(join(dir, "tile.bin"), "other");
    const args = ["publish", dir, "--name", "tiles", "--version", "1"];
    const refused = await run([...args, "--data", join(folder, "a")]);
    expect([refused.exit, refused.errors]).toEqual([5, expect.stringContaining("never change")]);
  });

  test("say that there is no such version or stage", async () => {
    const terminal = await run(["stage", "nothing@1", "--hosts", "all"]);
    expect(terminal.exit).toBe(4);
  });

  test("declare workloads, and show plan, forecast and why", async () => {
    const workload = {
      name: "w",
      match: { pathPrefix: "/w/" },
      environment: { command: ["node", "x"] },
    };
    const applied = await json(["apply", "-f", "-"], JSON.stringify({ workloads: [workload] }));
    expect(applied).toMatchObject({ added: ["w"] });
    const history = join(folder, "history.csv");
    const nowMs = systemClock.now();
    const rows = Array.from({ length: 50 }, (_, i) => {
      const at = new Date(nowMs - (60 - i) * 60_000).toISOString();
      return `${at},w,default,a,2`;
    });
    await writeFile(history, `timestamp,workload,category,origin,count\n${rows.join("\n")}\n`);
    expect(await json(["import", history])).toMatchObject({
      requests: 100,
      imported: { requests: 100, duplicate: false },
    });
    expect((await run(["import", history])).stdout).toContain("imported before");
    expect((await run(["plan", "--all"])).stdout).toMatch(/^plan \d+ of /);
    expect((await run(["why", "w"])).exit).toBe(0);
    await until("forecast", async () => {
      const view = await json<{ forecasts: unknown[] }>(["forecast", "w"]);
      return view.forecasts.length > 0;
    });
    expect((await run(["forecast", "w"])).stdout).toContain("w/default at all hosts");
  });

  test("pause and resume all pre-work", async () => {
    expect(await json(["pause"])).toEqual({ paused: true });
    expect((await run(["status"])).stdout).toContain("paused");
    expect(await json(["resume"])).toEqual({ paused: false });
  });

  test("give a viewer what it may see and nothing else, and audit it", async () => {
    const args = ["token", "create", "eyes", "--role", "viewer", "--ttl", "1h"];
    const { token } = await json<{ token: string }>(args);
    const admin = JSON.parse(await readFile(context, "utf8"));
    const viewer = join(folder, "coordinator", "viewer.json");
    await writeFile(viewer, JSON.stringify({ ...admin, token }));
    expect((await run(["status", "--context", viewer])).exit).toBe(0);
    const refused = await run(["pause", "--context", viewer]);
    expect([refused.exit, refused.errors]).toEqual([3, expect.stringContaining("admin")]);
    const audit = await run(["audit", "--verify"]);
    expect(audit.exit).toBe(0);
    expect(audit.stdout).toContain("rows verified");
    expect(audit.stdout).toContain("refused");
    expect((await run(["token", "list"])).stdout).toContain("eyes");
  });

  test("refuse a coordinator with another root (context of another fleet)", async () => {
    const admin = JSON.parse(await readFile(context, "utf8"));
    const foreign = join(folder, "foreign.json");
    await writeFile(join(folder, "foreign.pem"), "");
    await writeFile(foreign, JSON.stringify({ ...admin, caFile: "foreign.pem" }));
    const terminal = await run(["status", "--context", foreign]);
    expect([terminal.exit, terminal.errors]).toEqual([3, expect.stringContaining("not the")]);
  });

  test("revoke a host", async () => {
    expect(await json(["hosts", "revoke", "b"])).toMatchObject({ host: "b" });
    await until("revoked", async () => (await run(["hosts"])).stdout.includes("revoked"));
  });
});

describe("daemons", () => {
  test("end with their config's mistakes on stderr and exit code 2", async () => {
    const file = join(folder, "bad.yaml");
    await writeFile(file, "dataDir: x\nlisten:\n  prot: 7\n");
    const ended = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
      execFile(process.execPath, [ENTRY, "coordinator", "--config", file], (error, _out, stderr) =>
        resolve({ code: error?.code, stderr }),
      );
    });
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain(`${file}:3: listen.prot: unknown key`);
  });
});

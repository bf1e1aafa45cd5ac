/** Publishing and following URLs by a real coordinator and real agents, as processes. */
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ApiClient } from "../coordinator/cli/client.ts";
import { readAccess } from "../coordinator/cli/context.ts";
import type { ArtifactList, DoctorView, HostList } from "../shared/api.ts";
import type { FollowList } from "../shared/api-follows.ts";
import { systemClock } from "../shared/runtime/clock.ts";
import { Daemons } from "../test/support/daemons.ts";

const SECRET = "s3cret-of-the-origin";
const daemons = new Daemons({ ...process.env, ORIGIN_LOGIN: `reader:${SECRET}` });
const { run, json, until } = daemons;
let folder: string;
let context: string;
let origin: Server;
let asked = 0;
let content = Buffer.from("first");

const originUrl = (path: string) =>
  `http://127.0.0.1:${(origin.address() as AddressInfo).port}/${path}`;
const followed = async () => (await json<FollowList>(["follow", "list"])).follows[0];
async function artifacts() {
  const client = new ApiClient(await readAccess(context));
  try {
    const path = "/api/v1/artifacts";
    return (await client.get<ArtifactList>(path, {}, { signal: AbortSignal.timeout(60_000) }))
      .artifacts;
  } finally {
    await client.close();
  }
}
const tagged = async () => (await artifacts()).find((a) => a.tags.includes("live"));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prestage-sources-"));
  daemons.folder = folder;
  context = daemons.context;
  const wanted = `Basic ${Buffer.from(`reader:${SECRET}`).toString("base64")}`;
  origin = createServer((request, response) => {
    asked++;
    if (request.headers.authorization !== wanted) return void response.writeHead(401).end();
    response.setHeader(
      "etag",
      `"${createHash("sha256").update(content).digest("hex").slice(0, 16)}"`,
    );
    response.end(content);
  });
  await new Promise<void>((resolve) => origin.listen(0, "127.0.0.1", resolve));
  await daemons.startCoordinator({ plan: { tickMs: 200 }, qos: { peakCpu: 1 } });
  const sources = [{ url: originUrl(""), auth: { scheme: "basic", env: "ORIGIN_LOGIN" } }];
  const settings = { sources, logLevel: "debug" };
  await daemons.startAgents({ a: settings, b: settings });
});

afterAll(async () => {
  await daemons.stop();
  origin?.close();
  await rm(folder, { recursive: true, force: true });
});

describe("a URL", () => {
  test("is published by the agent that may read it, and refused with a secret in it", async () => {
    const data = ["--data", join(folder, "a")];
    const args = ["--name", "once", "--version", "auto", ...data];
    const published = await json<{ version: string }>(["publish", originUrl("m.bin"), ...args]);
    expect(published.version).toMatch(/^[0-9a-f]{12}$/);
    const got = await json<{ path: string }>(["get", `once@${published.version}`, ...data]);
    expect(await readFile(join(got.path, "m.bin"), "utf8")).toBe("first");
    const login = originUrl("m.bin").replace("//", `//reader:${SECRET}@`);
    const refused = await run(["publish", login, ...args]);
    expect([refused.exit, refused.errors]).toEqual([2, expect.stringContaining("agent.yaml")]);
  });

  test("is followed: what changes is published, by one host at a time", async () => {
    const wish = ["--name", "app", "--tag", "live", "--follow", "1s"];
    await json(["publish", originUrl("app.bin"), ...wish]);
    await until("first", async () => (await followed())?.state === "ok");
    const first = await followed();
    expect((await tagged())?.ref.version).toBe(first?.version);

    content = Buffer.from("second, longer");
    await until("second", async () => (await followed())?.version !== first?.version);
    const second = await followed();
    expect((await tagged())?.ref.version).toBe(second?.version);
    expect((await artifacts()).filter((a) => a.ref.name === "app").length).toBe(2);

    const host = second?.host ?? "";
    const other = host === "a" ? "b" : "a";
    daemons.kill(host);
    content = Buffer.from("third, by the other host");
    await until("third", async () => (await followed())?.version !== second?.version);
    expect((await followed())?.host).toBe(other);
    const got = await json<{ path: string }>(["get", "app:live", "--data", join(folder, other)]);
    expect(await readFile(join(got.path, "app.bin"), "utf8")).toBe(content.toString());

    content = Buffer.from("first");
    await until("back", async () => (await followed())?.version === first?.version);
    expect((await tagged())?.ref.version).toBe(first?.version);
  });

  test("is run by a workload whose environments follow the tag, without a failed request", async () => {
    const app = (says: string) =>
      Buffer.from(
        `import { createServer } from "node:http";
         createServer((_, r) => r.end(${JSON.stringify(says)})).listen(process.argv[2], "127.0.0.1");`,
      );
    content = app("one");
    const wish = ["--name", "site", "--tag", "main", "--follow", "1s"];
    await json(["publish", originUrl("site.mjs"), ...wish]);
    const site = async () =>
      (await json<FollowList>(["follow", "list"])).follows.find((f) => f.name === "site");
    await until("site", async () => (await site())?.state === "ok");
    const rows = Array.from({ length: 300 }, (_, i) => {
      const at = new Date(systemClock.now() - (301 - i) * 60_000).toISOString();
      return `${at},site,default,a,3`;
    });
    const history = join(folder, "site.csv");
    await writeFile(history, `timestamp,workload,category,origin,count\n${rows.join("\n")}\n`);
    const workload = {
      name: "site",
      mode: "act",
      match: { pathPrefix: "/" },
      artifacts: [{ name: "site", tag: "main", kind: "code", as: "app" }],
      environment: {
        command: [process.execPath, "{artifact:app}/site.mjs", "{port}"],
      },
    };
    await json(["apply", "-f", "-"], JSON.stringify({ workloads: [workload] }));
    await json(["import", history]);
    const router = async () => {
      const { hosts } = await json<HostList>(["hosts"]);
      return hosts.find((h) => h.connected)?.routerUrl ?? "";
    };
    const url = await router();
    const answers: string[] = [];
    const ask = async () => {
      const answer = await fetch(`${url}/`);
      answers.push(`${answer.status} ${await answer.text()}`);
      return answers.at(-1) ?? "";
    };
    await until("one", async () => (await ask()) === "200 one");
    const before = answers.length;
    content = app("two");
    await until("two", async () => (await ask()) === "200 two");
    expect([...new Set(answers.slice(before))].sort()).toEqual(["200 one", "200 two"]);
    await json(["follow", "remove", "site:main"]);
  });

  test("that fails shows in doctor, and is left alone after the removal", async () => {
    const before = origin.listeners("request");
    origin.removeAllListeners("request");
    origin.on("request", (_, response) => response.writeHead(403).end(SECRET));
    await until("failing", async () => {
      const { checks } = await json<DoctorView>(["doctor"]);
      const check = checks.find((c) => c.name === "followed tags");
      return check?.status === "warn" && check.detail.includes("app:live");
    });
    expect((await run(["follow", "list"])).stdout).toContain("failing");
    for (const listener of before) origin.on("request", listener as () => void);
    await json(["follow", "remove", "app:live"]);
    expect(await followed()).toBe(undefined);
    expect((await tagged())?.ref.name).toBe("app");
    await until("left alone", async () => {
      const seen = asked;
      await systemClock.sleep(5_000);
      return asked === seen;
    });
  });

  test("leaves no secret behind (files, logs, database, output)", async () => {
    await daemons.stop();
    const login = Buffer.from(`reader:${SECRET}`).toString("base64");
    expect(daemons.printed).not.toContain(SECRET);
    expect(daemons.printed).not.toContain(login);
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name));
    expect(files.length).toBeGreaterThan(20);
    for (const file of files) {
      const bytes = await readFile(file);
      expect(bytes.includes(SECRET) || bytes.includes(login), file).toBe(false);
    }
  });
});

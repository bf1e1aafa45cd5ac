/**
 * Cold hosts that are all told at once to hold a version that only an origin has:
 * node test/bench/mesh/origin.ts HOSTS MIB [--sites 1] [--kill] [--at 0.5] [--mbit N]
 *   [--origin-mbit N] [--get]
 * The real agents and commands, a network namespace each, and nginx as the origin. Prints what nginx
 * sent over the artifact, and the last host's time; before it the same of HOSTS times curl.
 * --kill: SIGKILL to the agent that fetches when so much of it is there. --get: by `prestage get`.
 */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { countingOrigin, type Sent, sentBy, sumOf } from "../../support/counting-origin.ts";
import { until } from "../../support/namespaced-fleet.ts";
import { BenchFleet, MIB, writeRandom } from "./bench-fleet.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    kill: { type: "boolean", default: false },
    sites: { type: "string", default: "1" },
    at: { type: "string", default: "0.5" },
    mbit: { type: "string" },
    "origin-mbit": { type: "string" },
    get: { type: "boolean", default: false },
  },
});
const [count = 16, mib = 64] = positionals.map(Number);
const killAt = Number(values.at);
const ORIGIN = "origin";
const PORT = 8080;
const LOOK_MS = 20;
const DONE_WITHIN_MS = 600_000;
const hosts = Array.from({ length: count }, (_, i) => `h${i + 1}`);
const say = (line: string) => process.stdout.write(`${line}\n`);
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const times = (sent: readonly Sent[]) => (sumOf(sent) / (mib * MIB)).toFixed(3);
const mbit = (text: string | undefined) => (text === undefined ? null : Number(text));

class Run {
  readonly #bench: BenchFleet;
  readonly #log: string;
  readonly #file: string;
  readonly #url: string;

  private constructor(bench: BenchFleet, file: string, url: string) {
    this.#bench = bench;
    this.#log = join(bench.dir, "nginx");
    this.#file = file;
    this.#url = url;
  }

  static async open(): Promise<Run> {
    const bench = await BenchFleet.open({
      hosts: ["publisher", ...hosts],
      linkMbit: mbit(values.mbit),
      others: [ORIGIN],
      sites: (host) => `site-${hosts.indexOf(host) % Number(values.sites)}`,
    });
    const root = join(bench.dir, "root");
    await mkdir(root);
    writeRandom(join(root, "payload.bin"), mib);
    const at = `${bench.fleet.address(ORIGIN)}:${PORT}`;
    const command = await countingOrigin(join(bench.dir, "nginx"), root, at);
    bench.fleet.startProgram(ORIGIN, "nginx", command);
    await until("nginx serves", async () =>
      fetch(`http://${at}/`).then(
        () => true,
        () => false,
      ),
    );
    const limit = mbit(values["origin-mbit"]);
    if (limit !== null) await bench.fleet.shape(ORIGIN, limit);
    return new Run(bench, join(root, "payload.bin"), `http://${at}/payload.bin`);
  }

  /** The limit of doing it host by host. */
  async curls(): Promise<void> {
    const sent = await this.#counted(async () => {
      const startMs = systemClock.monotonic();
      const command = ["curl", "-sf", "-o", "/dev/null", this.#url];
      const ended = await Promise.all(hosts.map((host) => this.#bench.fleet.run(host, command)));
      if (ended.some(({ exit }) => exit !== 0)) throw new Error("curl failed");
      return systemClock.monotonic() - startMs;
    });
    say(`curl on each of ${count} hosts: origin ${times(sent.sent)} ×, ${seconds(sent.result)}`);
  }

  async stage(): Promise<void> {
    const { fleet } = this.#bench;
    const named = ["--name", "payload", "--version", "1", "--no-keep"];
    const publish = ["publish", this.#url, ...named];
    const { manifestHash } = await fleet.json<{ manifestHash: string }>(publish, {
      host: "publisher",
    });
    const { sent, result } = await this.#counted(() => this.#staged(manifestHash));
    const { dead, lastMs } = result;
    const alive = hosts.filter((host) => host !== dead);
    await this.#bench.compare(this.#file, manifestHash, alive);
    const asking = new Set(sent.map(({ to }) => to)).size;
    const how = dead === null ? "" : `, ${dead} killed at ${killAt}`;
    say(
      `prestage: ${count} cold hosts in ${values.sites} sites, ${mib} MiB${how}: origin ${times(sent)} ×, ` +
        `last host ${seconds(lastMs)}, ${asking} hosts asked the origin`,
    );
  }

  /** From the command until all that live have it; and who was killed meanwhile. */
  async #staged(manifestHash: string): Promise<{ dead: string | null; lastMs: number }> {
    const { fleet } = this.#bench;
    const before = (await sentBy(this.#log)).length;
    const startMs = systemClock.monotonic();
    const asked = values.get
      ? hosts.map((host) => fleet.command(["get", "payload@1"], { host }))
      : [fleet.command(["stage", "payload@1", "--hosts", hosts.join()])];
    let dead: string | null = null;
    const placed = (host: string) =>
      existsSync(join(fleet.dataDir(host), "mesh", "trees", manifestHash));
    const look = async () => {
      if (values.kill && dead === null) dead = await this.#kill(before);
      return hosts.every((host) => host === dead || placed(host));
    };
    const timing = { withinMs: DONE_WITHIN_MS, everyMs: LOOK_MS };
    await until("all hosts have it", look, timing);
    const lastMs = systemClock.monotonic() - startMs;
    await Promise.all(asked);
    return { dead, lastMs };
  }

  /** Kills who fetches, once that much has come from the origin. */
  async #kill(before: number): Promise<string | null> {
    const sent = (await sentBy(this.#log)).slice(before);
    const last = sent.at(-1);
    if (!last || sumOf(sent) < killAt * mib * MIB) return null;
    const host = hosts.find((h) => this.#bench.fleet.address(h) === last.to);
    if (host === undefined) return null;
    await this.#bench.fleet.kill(host);
    return host;
  }

  /** What the origin sent meanwhile; it tells when an answer has ended. */
  async #counted<T>(work: () => Promise<T>): Promise<{ sent: Sent[]; result: T }> {
    const before = (await sentBy(this.#log)).length;
    const result = await work();
    await systemClock.sleep(1_000);
    return { sent: (await sentBy(this.#log)).slice(before), result };
  }

  close(): Promise<void> {
    return this.#bench.close();
  }
}

const run = await Run.open();
try {
  await run.curls();
  await run.stage();
} finally {
  await run.close();
}

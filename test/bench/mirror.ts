/**
 * One layer through the image mirror beside the registry itself, on one machine:
 * `node test/bench/mirror.ts [MIB]`. Cold is a layer that only another agent has.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ownPlatform } from "../../agent/sources/platforms.ts";
import { MANIFEST_TYPES } from "../../shared/image-layout.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { Daemons } from "../support/daemons.ts";
import { makeImage } from "../support/image.ts";
import { push, startRegistry } from "../support/registry.ts";

const mib = Number(process.argv[2] ?? 256);
const folder = await mkdtemp(join(tmpdir(), "prestage-bench-mirror-"));
const registry = await startRegistry(join(folder, "registry"));
const daemons = new Daemons();
daemons.folder = folder;
await daemons.startCoordinator();
const mirror = { listen: "127.0.0.1:0" };
await daemons.startAgents({
  a: {},
  b: { mirror },
  c: { mirror: { ...mirror, upstreams: [registry.host] } },
});

async function layerOf(name: string, seed: number): Promise<string> {
  const layout = join(folder, name);
  const platforms = [`linux/${ownPlatform().architecture}`];
  const made = await makeImage(layout, { tag: "t", platforms, layerBytes: [mib << 20], seed });
  await push(layout, "t", `${registry.host}/bench/${name}:v1`);
  return made.images[0]?.layers[0] ?? "";
}

type Pull = { seconds: number; firstMs: number; halfMs: number };

/** When the first byte came, and when half of them were there. */
function drained(url: string): Promise<Pull> {
  const { promise, resolve, reject } = Promise.withResolvers<Pull>();
  const beginMs = systemClock.monotonic();
  const sinceMs = () => systemClock.monotonic() - beginMs;
  get(url, { headers: { accept: MANIFEST_TYPES.join(", ") } }, (answer) => {
    if (answer.statusCode !== 200) reject(new Error(`${url}: ${answer.statusCode}`));
    const half = Number(answer.headers["content-length"]) / 2;
    const pull = { seconds: 0, firstMs: 0, halfMs: 0 };
    let got = 0;
    answer.on("data", (piece: Buffer) => {
      pull.firstMs ||= sinceMs();
      got += piece.length;
      if (got >= half) pull.halfMs ||= sinceMs();
    });
    answer.on("end", () => resolve({ ...pull, seconds: sinceMs() / 1000 })).on("error", reject);
  }).on("error", reject);
  return promise;
}

async function pull(base: string, name: string, layer: string): Promise<Pull> {
  const at = (path: string) => `http://${base}/v2/bench/${name}/${path}?ns=${registry.host}`;
  const manifest = await drained(at("manifests/v1"));
  const blob = await drained(at(`blobs/${layer}`));
  return { ...blob, seconds: manifest.seconds + blob.seconds };
}

const at = async (host: string) => (await daemons.status<{ mirror: string }>(host)).mirror;
try {
  const layer = await layerOf("published", 1);
  const begunMs = systemClock.monotonic();
  const url = `oci://${registry.host}/bench/published:v1`;
  await daemons.json(["publish", url, "--data", daemons.dataDir("a")]);
  const publishing = (systemClock.monotonic() - begunMs) / 1000;
  const direct = await pull(registry.host, "published", layer);
  const cold = await pull(await at("b"), "published", layer);
  const warm = await pull(await at("b"), "published", layer);
  const other = await layerOf("new", 2);
  const brought = await pull(await at("c"), "new", other);
  const line = (what: string, took: number) =>
    `${what.padEnd(34)} ${took.toFixed(2).padStart(7)} s ${(mib / took).toFixed(0).padStart(6)} MiB/s ` +
    `${(took / direct.seconds).toFixed(2).padStart(6)} × the registry\n`;
  const pulled = (what: string, { seconds, firstMs, halfMs }: Pull) =>
    `${line(what, seconds).trimEnd()}; of the layer the first byte after ` +
    `${firstMs.toFixed(0)} ms, half after ${halfMs.toFixed(0)} ms\n`;
  process.stdout.write(
    pulled("registry itself", direct) +
      pulled("mirror, from this host's store", warm) +
      pulled("mirror, from a peer (cold)", cold) +
      pulled("mirror, upstream's first pull", brought) +
      line("publish (read, cut, hash, keep)", publishing),
  );
} finally {
  await daemons.stop();
  await registry.stop();
  await rm(folder, { recursive: true, force: true });
}

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

function drained(url: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  get(url, { headers: { accept: MANIFEST_TYPES.join(", ") } }, (answer) => {
    if (answer.statusCode !== 200) reject(new Error(`${url}: ${answer.statusCode}`));
    answer.on("end", resolve).on("error", reject).resume();
  }).on("error", reject);
  return promise;
}

async function seconds(base: string, name: string, layer: string): Promise<number> {
  const beginMs = systemClock.monotonic();
  for (const path of ["manifests/v1", `blobs/${layer}`])
    await drained(`http://${base}/v2/bench/${name}/${path}?ns=${registry.host}`);
  return (systemClock.monotonic() - beginMs) / 1000;
}

const at = async (host: string) => (await daemons.status<{ mirror: string }>(host)).mirror;
try {
  const layer = await layerOf("published", 1);
  const begunMs = systemClock.monotonic();
  const url = `oci://${registry.host}/bench/published:v1`;
  await daemons.json(["publish", url, "--data", daemons.dataDir("a")]);
  const publishing = (systemClock.monotonic() - begunMs) / 1000;
  const direct = await seconds(registry.host, "published", layer);
  const cold = await seconds(await at("b"), "published", layer);
  const warm = await seconds(await at("b"), "published", layer);
  const other = await layerOf("new", 2);
  const brought = await seconds(await at("c"), "new", other);
  const line = (what: string, took: number) =>
    `${what.padEnd(34)} ${took.toFixed(2).padStart(7)} s ${(mib / took).toFixed(0).padStart(6)} MiB/s ` +
    `${(took / direct).toFixed(2).padStart(6)} × the registry\n`;
  process.stdout.write(
    line("registry itself", direct) +
      line("mirror, from this host's store", warm) +
      line("mirror, from a peer (cold)", cold) +
      line("mirror, upstream's first pull", brought) +
      line("publish (read, cut, hash, keep)", publishing),
  );
} finally {
  await daemons.stop();
  await registry.stop();
  await rm(folder, { recursive: true, force: true });
}

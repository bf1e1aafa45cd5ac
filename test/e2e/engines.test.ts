/**
 * Real container engines pull through an agent's mirror while the registry is switched off.
 * `.ci/run` installs `skopeo` (mirror.test.ts); these are tested where they are installed.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ownPlatform } from "../../agent/sources/platforms.ts";
import { Daemons } from "../support/daemons.ts";
import {
  type Engine,
  engineObstacle,
  type Place,
  pullWithContainerd,
  pullWithDocker,
  pullWithPodman,
} from "../support/engines.ts";
import { type MadeImage, makeImage } from "../support/image.ts";
import { push, registryObstacle, startRegistry, type TestRegistry } from "../support/registry.ts";

const platforms = [`linux/${ownPlatform().architecture}`, "linux/mips64le"];
const obstacles = (["containerd", "podman", "docker"] as Engine[]).map(
  (engine) => [engine, engineObstacle(engine) ?? registryObstacle()] as const,
);

describe.skipIf(obstacles.every(([, obstacle]) => obstacle !== null))("image mirror", () => {
  let folder: string;
  const daemons = new Daemons();
  let registry: TestRegistry;
  let made: MadeImage;
  let mirror = "";

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "prestage-engines-"));
    registry = await startRegistry(join(folder, "registry"));
    daemons.folder = folder;
    await daemons.startCoordinator();
    const sources = [{ url: "oci://docker.io", endpoint: `http://${registry.host}` }];
    const listening = { listen: "127.0.0.1:0" };
    await daemons.startAgents({ a: { sources }, b: { sources, mirror: listening } });
    mirror = (await daemons.status<{ mirror: string }>("b")).mirror;
    const layout = join(folder, "layout");
    made = await makeImage(layout, {
      tag: "t",
      platforms,
      layerBytes: [700_000, 200_000],
      seed: 9,
    });
    for (const [repository, name] of [
      ["team/app", `${registry.host}/team/app`],
      ["prestage/hubbed", "docker.io/prestage/hubbed"],
    ]) {
      await push(layout, "t", `${registry.host}/${repository}:v1`);
      await daemons.json(["publish", `oci://${name}:v1`, "--data", daemons.dataDir("a")]);
    }
    await registry.stop();
  });

  afterAll(async () => {
    await daemons.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function placeOf(engine: Engine): Promise<Place> {
    const dir = join(folder, engine);
    await mkdir(dir);
    return { dir, registry: registry.host, mirror };
  }

  const pulls: Record<Engine, () => Promise<void>> = {
    containerd: async () => {
      const digest = await pullWithContainerd(await placeOf("containerd"), "team/app:v1");
      expect(digest).toBe(made.digest);
    },
    podman: async () => {
      const id = await pullWithPodman(await placeOf("podman"), "team/app:v1");
      expect([...made.blobs.keys()]).toContain(`sha256:${id}`);
    },
    docker: async () => {
      const said = await pullWithDocker(await placeOf("docker"), "prestage/hubbed:v1");
      expect(said).toContain(`Digest: ${made.digest}`);
    },
  };

  for (const [engine, obstacle] of obstacles)
    test.skipIf(obstacle !== null)(
      `serves ${engine} what a peer has (registry off)${obstacle ? ` (skipped: ${obstacle})` : ""}`,
      pulls[engine],
    );

  test("had all bytes from the peer", async () => {
    type Transfers = { transfers: { peerBytes: number; originBytes: number } };
    const { transfers } = await daemons.status<Transfers>("b");
    expect(transfers.originBytes).toBe(0);
    expect(transfers.peerBytes).toBeGreaterThan(900_000);
  });
});

/** Images from a real registry through the mirrors of real agents, by real container clients. */

import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ownPlatform } from "../../agent/sources/platforms.ts";
import { Daemons } from "../support/daemons.ts";
import { type MadeImage, makeImage } from "../support/image.ts";
import {
  push,
  registryObstacle,
  skopeo,
  startRegistry,
  type TestRegistry,
} from "../support/registry.ts";

const obstacle = registryObstacle();
if (obstacle && process.env.CI === "true") throw new Error(`mirror: ${obstacle}`);
const title = obstacle ? `image mirror (skipped: ${obstacle})` : "image mirror";
const own = `linux/${ownPlatform().architecture}`;
const other = own === "linux/s390x" ? "linux/amd64" : "linux/s390x";

/** Status of an answer to a request that names another host. */
function statusAs(host: string, url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { host } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    }).on("error", reject);
  });
}

type Status = { mirror: string; transfers: { peerBytes: number; originBytes: number } };

describe.skipIf(obstacle !== null)(title, () => {
  let folder: string;
  const daemons = new Daemons();
  let registry: TestRegistry;
  const mirrors: Record<string, string> = {};

  /** An image in the registry that no other test uses. */
  async function pushed(name: string, seed: number, platforms = [own]): Promise<MadeImage> {
    const layout = join(folder, `layout-${name.replaceAll(/\W/g, "-")}`);
    const made = await makeImage(layout, {
      tag: "t",
      platforms,
      layerBytes: [900_000, 300_000],
      seed,
    });
    await push(layout, "t", `${registry.host}/${name}`);
    return made;
  }

  /** Settings by which `skopeo` and podman go to a host's mirror first, and then nowhere else. */
  async function throughMirror(host: string): Promise<string> {
    const file = join(folder, `${host}-registries.conf`);
    const place = `${mirrors[host]}/${registry.host.replace(":", "_")}`;
    await writeFile(
      file,
      `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n` +
        `[[registry.mirror]]\nlocation = "${place}"\ninsecure = true\n`,
    );
    return file;
  }

  let pulls = 0;
  /** Digests of the blobs that a pull through the host's mirror brought. */
  async function pull(host: string, reference: string, all = false): Promise<string[]> {
    const into = join(folder, `pulled-${++pulls}`);
    const image = `docker://${registry.host}/${reference}`;
    const args = ["copy", ...(all ? ["--all"] : []), image, `oci:${into}:t`];
    await skopeo(args, { conf: await throughMirror(host) });
    return (await readdir(join(into, "blobs", "sha256"))).map((hex) => `sha256:${hex}`).sort();
  }

  const publish = (host: string, args: string[]) =>
    daemons.json<{ name: string; version: string }>([
      "publish",
      ...args,
      "--data",
      daemons.dataDir(host),
    ]);
  const status = (host: string) => daemons.status<Status>(host);
  const at = (host: string, path: string) =>
    `http://${mirrors[host]}/v2/${path}${path.includes("?") ? "&" : "?"}ns=${registry.host}`;
  const requestsFor = (path: string) =>
    registry
      .log()
      .split("\n")
      .filter((line) => line.includes(`"GET /v2/${path}`)).length;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "prestage-mirror-"));
    registry = await startRegistry(join(folder, "registry"));
    daemons.folder = folder;
    await daemons.startCoordinator();
    const mirror = { listen: "127.0.0.1:0", tagMs: 0 };
    const upstreams = [registry.host];
    await daemons.startAgents({
      a: { mirror },
      b: { mirror },
      c: { mirror: { ...mirror, upstreams } },
      d: { mirror: { ...mirror, upstreams } },
    });
    for (const host of ["a", "b", "c", "d"]) mirrors[host] = (await status(host)).mirror;
  });

  afterAll(async () => {
    await daemons.stop();
    await registry?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("a published image comes from a peer, all platforms of it, and still when the registry is off", async () => {
    const made = await pushed("team/app:v1", 1, [own, other]);
    const published = await publish("a", [
      `oci://${registry.host}/team/app:v1`,
      "--platform",
      "all",
    ]);
    expect(published.name).toBe("team-app");
    const before = {
      blobs: requestsFor("team/app/blobs"),
      manifests: requestsFor("team/app/manifests"),
    };
    const digests = [...made.blobs.keys()].sort();
    expect(await pull("b", "team/app:v1", true)).toEqual(digests);
    expect(requestsFor("team/app/blobs")).toBe(before.blobs);
    expect(requestsFor("team/app/manifests")).toBe(before.manifests);
    const { transfers } = await status("b");
    const bytes = [...made.blobs.values()].reduce((sum, blob) => sum + blob.length, 0);
    expect(transfers.originBytes).toBe(0);
    expect(transfers.peerBytes).toBeGreaterThanOrEqual(bytes);

    await pushed("team/later:v1", 2);
    await publish("a", [
      `oci://${registry.host}/team/later:v1`,
      "--name",
      "anything",
      "--version",
      "7",
    ]);
    await registry.stop();
    expect(await pull("b", "team/app:v1", true)).toEqual(digests);
    expect(await pull("b", `team/app@${made.digest}`, true)).toEqual(digests);
    expect(await pull("b", "team/later:v1")).toHaveLength(4);
    await registry.start();
  });

  test("a moved tag is noticed while the registry is there; what is not in the mesh is left to the client", async () => {
    const first = await pushed("team/moving:v1", 3);
    await publish("a", [`oci://${registry.host}/team/moving:v1`]);
    expect(await pull("b", "team/moving:v1")).toContain(first.digest);
    const second = await pushed("team/moving:v1", 4);
    const moved = at("b", "team/moving/manifests/v1");
    // Once more than the time for which the registry, stopped before, counts as away.
    await daemons.until(
      "moved tag is forgotten",
      async () => (await fetch(moved, { method: "HEAD" })).status === 404,
    );

    expect(await pull("b", "team/moving:v1")).toContain(second.digest);
    await publish("a", [`oci://${registry.host}/team/moving:v1`]);
    await daemons.until("tag comes", async () => {
      const answer = await fetch(moved, { method: "HEAD" });
      return answer.headers.get("docker-content-digest") === second.digest;
    });
    await pushed("team/unknown:v1", 5);
    expect(await pull("b", "team/unknown:v1")).toHaveLength(4);
    expect((await fetch(at("b", "team/unknown/manifests/v1"))).status).toBe(404);
  });

  test("a followed tag brings each image that the registry's tag moves to into the mesh", async () => {
    const url = `oci://${registry.host}/team/followed:v1`;
    const isServed = async ({ digest }: MadeImage) => {
      const answer = await fetch(at("b", "team/followed/manifests/v1"));
      return answer.ok && answer.headers.get("docker-content-digest") === digest;
    };
    const first = await pushed("team/followed:v1", 11);
    await daemons.json(["publish", url, "--tag", "main", "--follow", "1s"]);
    await daemons.until("first is served", () => isServed(first));
    const second = await pushed("team/followed:v1", 12);
    await daemons.until("second is served", () => isServed(second));
    expect(await pull("b", "team/followed:v1")).toContain(second.digest);
    await daemons.json(["follow", "remove", "team-followed:main"]);
  });

  test("an upstream's image is brought in once by the first pull, also for pulls at the same time", async () => {
    const made = await pushed("team/new:v1", 6, [own, other]);
    const layers = made.images[0]?.layers ?? [];
    const pulled = await Promise.all(["c", "d", "c", "d"].map((host) => pull(host, "team/new:v1")));
    for (const digests of pulled) expect(digests).toEqual(expect.arrayContaining(layers));
    for (const layer of layers) expect(requestsFor(`team/new/blobs/${layer}`)).toBe(1);
    // Another tag of the same image counts without the registry, too.
    await push(join(folder, "layout-team-new-v1"), "t", `${registry.host}/team/new:stable`);
    await pull("c", "team/new:stable");
    await daemons.until("tag comes", async () => {
      const answer = await fetch(at("b", "team/new/tags/list"));
      return (await answer.text()).includes("stable");
    });
    for (const layer of layers) expect(requestsFor(`team/new/blobs/${layer}`)).toBe(1);
    await registry.stop();
    // Also a host that has no upstream, of what others brought in.
    expect(await pull("b", "team/new:v1")).toEqual(pulled[0]);
    expect(await pull("b", "team/new:stable")).toEqual(pulled[0]);
    await registry.start();
  });

  test("answers are those of a registry: ranges, HEAD, tags, refusals", async () => {
    const made = await pushed("team/api:v1", 7);
    await publish("a", [`oci://${registry.host}/team/api:v1`]);
    const layer = made.images[0]?.layers[0] ?? "";
    const bytes = made.blobs.get(layer) ?? Buffer.alloc(0);
    const blob = at("b", `team/api/blobs/${layer}`);
    const head = await fetch(blob, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, `${bytes.length}`]);
    const part = await fetch(blob, { headers: { range: "bytes=100-199" } });
    expect([part.status, part.headers.get("content-range")]).toEqual([
      206,
      `bytes 100-199/${bytes.length}`,
    ]);
    expect(Buffer.from(await part.arrayBuffer())).toEqual(bytes.subarray(100, 200));
    const end = await fetch(blob, { headers: { range: "bytes=-50000" } });
    expect(Buffer.from(await end.arrayBuffer())).toEqual(bytes.subarray(-50_000));
    const beyond = await fetch(blob, { headers: { range: `bytes=${bytes.length}-` } });
    expect([beyond.status, beyond.headers.get("content-range")]).toEqual([
      416,
      `bytes */${bytes.length}`,
    ]);
    expect(Buffer.from(await (await fetch(blob)).arrayBuffer())).toEqual(bytes);

    const manifest = await fetch(at("b", "team/api/manifests/v1"));
    expect(manifest.headers.get("content-type")).toBe("application/vnd.oci.image.manifest.v1+json");
    expect(manifest.headers.get("docker-content-digest")).toBe(made.digest);
    expect(Buffer.from(await manifest.arrayBuffer())).toEqual(made.blobs.get(made.digest));
    const same = await fetch(at("b", `team/api/manifests/${made.digest}`), {
      headers: { "if-none-match": `"${made.digest}"` },
    });
    expect(same.status).toBe(304);

    expect(await (await fetch(at("b", "team/api/tags/list"))).json()).toEqual({
      name: "team/api",
      tags: ["v1"],
    });
    const refused = async (path: string, init: RequestInit = {}) => {
      const answer = await fetch(at("b", path), init);
      const { errors } = JSON.parse(await answer.text());
      return [answer.status, errors[0].code];
    };
    const none = `sha256:${"0".repeat(64)}`;
    expect(await refused("team/api/manifests/v9")).toEqual([404, "MANIFEST_UNKNOWN"]);
    expect(await refused(`team/api/blobs/${none}`)).toEqual([404, "BLOB_UNKNOWN"]);
    expect(await refused("team/none/manifests/v1")).toEqual([404, "NAME_UNKNOWN"]);
    expect(await refused("team/none/tags/list")).toEqual([404, "NAME_UNKNOWN"]);
    expect(await refused("team/api/manifests/v1", { method: "PUT", body: "{}" })).toEqual([
      405,
      "UNSUPPORTED",
    ]);
    expect(await statusAs("page.example", at("b", ""))).toBe(403);
    expect(await statusAs("localhost:1", at("b", ""))).toBe(200);
    expect(await daemons.log("b")).not.toContain('"level":50');
  });

  test("pulls of what is on the host go on without coordinator and registry", async () => {
    const made = await pushed("team/alone:v1", 13);
    await publish("a", [`oci://${registry.host}/team/alone:v1`]);
    const pulled = await pull("b", "team/alone:v1");
    daemons.kill("coordinator");
    await registry.stop();
    expect(await pull("b", "team/alone:v1")).toEqual(pulled);
    expect(await pull("b", `team/alone@${made.digest}`)).toEqual(pulled);
    expect((await fetch(at("b", "team/nobody/manifests/v1"))).status).toBe(404);
  });
});

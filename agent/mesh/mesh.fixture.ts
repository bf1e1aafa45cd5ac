/** Real meshes on loopback for tests: own folder, own key, real libp2p. */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import type { HoldArtifact, Member, SignedManifest } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { createLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { systemRandom } from "../../shared/runtime/random.ts";
import { SourceLimits } from "../sources/settings.ts";
import { Sources } from "../sources/sources.ts";
import type { Elsewhere, Looked } from "./ask-around.ts";
import { Mesh } from "./mesh.ts";

export type TestHost = {
  host: string;
  mesh: Mesh;
  member: Member;
  dir: string;
  source: Sources;
  stop: () => Promise<void>;
};

/** Some hosts that do not know one another yet; `enrol` makes members of them. */
export class TestFleet {
  readonly manifests = new Map<string, SignedManifest>();
  readonly hosts: TestHost[] = [];
  readonly #dirs: string[] = [];
  resolved = 0;
  /** What the coordinator says of other sites; it is away unless a test says otherwise. */
  elsewhere = async (
    _host: string,
    _site: string,
    _wants: readonly Looked[],
  ): Promise<readonly Elsewhere[]> => {
    throw new PrestageError("UNREACHABLE", "no coordinator");
  };
  /** The coordinator is away: each question to it goes unanswered for so long. */
  awayMs = 0;

  async folder(): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), "prestage-mesh-"));
    this.#dirs.push(dir);
    return dir;
  }

  async start(
    host: string,
    options: { dir?: string; site?: string; quotaBytes?: number; seed?: Uint8Array } = {},
  ): Promise<TestHost> {
    const seed = options.seed ?? randomBytes(32);
    const peerId = peerIdFromPrivateKey(await generateKeyPairFromSeed("Ed25519", seed)).toString();
    const site = options.site ?? "lab";
    const dir = options.dir ?? (await this.folder());
    const random = systemRandom();
    const log = createLog({ name: host, level: process.env.MESH_LOG ?? "silent" });
    const source = new Sources(
      {
        clock: systemClock,
        random,
        log,
        metrics: new Metrics(),
        environment: {},
        secret: () => undefined,
      },
      {
        settings: [],
        limits: SourceLimits.parse({}),
        cacheDir: join(dir, "sources"),
        fleet: { url: "https://127.0.0.1:1", tls: () => ({ ca: "", cert: "", key: "" }) },
      },
    );
    const mesh = new Mesh(
      {
        identity: { seed, peerId, host, site },
        clock: systemClock,
        random,
        log,
        metrics: new Metrics(),
        resolveManifest: async (hash) => this.#resolve(hash),
        askElsewhere: (wants) => this.elsewhere(host, site, wants),
        source,
        onRefused: () => {},
      },
      {
        dir,
        quotaBytes: options.quotaBytes ?? 4e9,
        reserveRatio: 0,
        listen: ["/ip4/127.0.0.1/tcp/0"],
        bulk: { host: "127.0.0.1", port: 0, insist: false },
      },
    );
    const stopping = new AbortController();
    const running = mesh.run(stopping.signal);
    await mesh.started;
    const member = { host, site, peerId, meshAddresses: mesh.addresses(), routerUrl: null };
    const stop = async () => {
      stopping.abort();
      await running;
      await source.close();
    };
    const started = { host, mesh, member, dir, source, stop };
    this.hosts.push(started);
    return started;
  }

  /** Tells these hosts that exactly these are members. */
  enrol(hosts: TestHost[], tell = hosts): void {
    for (const { mesh } of tell) mesh.setMembers(hosts.map((h) => h.member));
  }

  async publish(
    at: TestHost,
    dir: string,
    options: { version?: string; originUrl?: string; keep?: boolean } = {},
  ): Promise<SignedManifest> {
    const signed = await at.mesh.publish(dir, {
      name: "thing",
      version: options.version ?? "1",
      originUrl: options.originUrl ?? null,
      keep: options.keep ?? true,
    });
    this.manifests.set(signed.hash, signed);
    return signed;
  }

  async #resolve(hash: string): Promise<SignedManifest> {
    this.resolved++;
    if (this.awayMs > 0) {
      await systemClock.sleep(this.awayMs);
      throw new PrestageError("UNREACHABLE", "no answer in time");
    }
    const signed = this.manifests.get(hash);
    if (!signed) throw new PrestageError("NOT_FOUND", "no such manifest");
    return signed;
  }

  /** Stops one host for good, and drops its folder. */
  async stop(host: TestHost): Promise<void> {
    this.hosts.splice(this.hosts.indexOf(host), 1);
    await host.stop();
    await this.#drop(host.dir);
  }

  /** A version the coordinator knows no more, and the folder it was made of. */
  async forget(manifestHash: string, dir: string): Promise<void> {
    this.manifests.delete(manifestHash);
    await this.#drop(dir);
  }

  async #drop(dir: string): Promise<void> {
    this.#dirs.splice(this.#dirs.indexOf(dir), 1);
    await rm(dir, { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await Promise.all(this.hosts.map((h) => h.stop()));
    for (const dir of this.#dirs) await rm(dir, { recursive: true, force: true });
  }
}

export async function writeTree(dir: string, files: Record<string, Uint8Array>): Promise<void> {
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), bytes);
  }
}

export function holdOf(signed: SignedManifest, orderId = `hold-${signed.hash}`): HoldArtifact {
  const ref = { name: "thing", version: "1" };
  return { orderId, ref, manifestHash: signed.hash, priority: 1, deadlineMs: 0 };
}

/** Looks every 20 ms until it holds; throws after `ms`. */
export async function until(claim: () => boolean, ms = 60_000): Promise<void> {
  const endMs = Date.now() + ms;
  while (!claim()) {
    if (Date.now() > endMs) throw new Error(`never held: ${claim}`);
    await systemClock.sleep(20);
  }
}

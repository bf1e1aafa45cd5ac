/** What moves data: the link, the sources, the mesh, and who obtains and offers artifacts by them. */
import { join } from "node:path";
import { packManifest, unpackManifest } from "../shared/packed-manifest.ts";
import type { Clock } from "../shared/runtime/clock.ts";
import { secret } from "../shared/runtime/random.ts";
import { Artifacts } from "./artifacts.ts";
import type { AgentConfig } from "./config.ts";
import { Following } from "./following.ts";
import { Link } from "./link/link.ts";
import { WsTransport } from "./link/ws-transport.ts";
import { Mesh } from "./mesh/mesh.ts";
import { Reader } from "./mesh/reader.ts";
import { Mirroring } from "./mirroring.ts";
import type { LastKnown } from "./persisted.ts";
import { Publishing } from "./publishing.ts";
import { Refusals } from "./refusals.ts";
import type { AgentDeps } from "./rooms.ts";
import { Sources } from "./sources/sources.ts";
import { Renewal } from "./trust/renewal.ts";

const MANIFEST_MS_MAX = 30_000;
const PUBLISH_MS_MAX = 60_000;
const IMAGES_MS_MAX = 10_000;
/** Versions wait for the answer; without it the site sees to itself. */
const ELSEWHERE_MS_MAX = 1_000;
/** While the coordinator is away: peers are asked in between. */
const MANIFEST_AWAY_MS_MAX = 2_000;

type TransferDeps = AgentDeps & { demandClock: Clock };

export function makeTransfers(deps: TransferDeps, lastKnown: LastKnown, routerUrl: () => string) {
  const { config, identity } = deps;
  const bootId = secret(12);
  const renewal = new Renewal(deps, { coordinatorUrl: config.coordinator });
  const transport = new WsTransport({ url: config.coordinator, tls: () => identity.linkTls() });
  const { desired, routes, members } = lastKnown.value;
  const link: Link = new Link(
    {
      ...deps,
      transport,
      hello: () => ({
        host: identity.host,
        site: identity.site,
        bootId,
        peerId: identity.peerId,
        meshAddresses: mesh.addresses(),
        routerUrl: config.router.announce ?? routerUrl(),
        software: deps.software,
        environmentsMax: config.environments.max,
      }),
    },
    { have: { desired: desired.version, routes: routes.version, members: members.epoch } },
  );
  const sources = new Sources(deps, {
    settings: config.sources,
    limits: config.sourceLimits,
    cacheDir: join(config.dataDir, "sources"),
    fleet: { url: config.coordinator, tls: () => identity.linkTls() },
  });
  const mesh = new Mesh(
    {
      ...deps,
      onRefused: (peerId) => refusals.note(peerId),
      resolveManifest: async (hash) => {
        const timeoutMs = link.connected ? MANIFEST_MS_MAX : MANIFEST_AWAY_MS_MAX;
        const reply = await link.request({ kind: "manifest", hash }, { timeoutMs });
        return unpackManifest(reply.manifest);
      },
      askElsewhere: async (looked) => {
        const wants = looked.map(({ id, ...how }) => ({ hash: id, ...how }));
        const timeoutMs = ELSEWHERE_MS_MAX;
        const reply = await link.request({ kind: "elsewhere", wants }, { timeoutMs });
        return reply.wants.map(({ hash, ...where }) => ({ id: hash, ...where }));
      },
      source: sources,
    },
    {
      dir: join(config.dataDir, "mesh"),
      ...config.store,
      listen: [multiaddr(config.mesh.listen, config.mesh.port)],
      bulk: bulkEndpoint(config.mesh),
      ...(config.mesh.announce && config.mesh.port > 0
        ? { announce: [multiaddr(config.mesh.announce, config.mesh.port)] }
        : {}),
    },
  );
  const refusals: Refusals = new Refusals({
    ...deps,
    tell: async (peerId) => void (await link.request({ kind: "refused", peerId })),
  });
  return { link, mesh, renewal, sources, refusals };
}

/** Who has artifacts by name: fetched for workloads, published, mirrored, followed. */
export function makeSupply(
  deps: TransferDeps,
  lastKnown: LastKnown,
  { link, mesh, sources }: ReturnType<typeof makeTransfers>,
) {
  const artifacts = new Artifacts({
    ...deps,
    lastKnown,
    ask: (name, version, tag, options) =>
      link.request({ kind: "resolve", name, version, tag }, options),
    connected: () => link.connected,
    ensure: (hash, staging) => mesh.ensure(hash, staging),
    pin: (hash, owner) => void mesh.pins.add(hash, owner),
    unpin: (hash, owner) => mesh.pins.remove(hash, owner),
    markUsed: (hash) => mesh.markUsed(hash),
    active: (hash) => mesh.path(hash) !== null,
  });
  const publishing = new Publishing({
    ...deps,
    mesh,
    sources,
    announce: async (signed, tags) => {
      const manifest = await packManifest(signed);
      return link.request({ kind: "publish", manifest, tags }, { timeoutMs: PUBLISH_MS_MAX });
    },
  });
  const mirroring = new Mirroring(
    {
      ...deps,
      mesh,
      reader: new Reader({ clock: deps.clock, mesh }),
      sources,
      publishing,
      lastKnown,
      ask: (asking) => link.request(asking, { timeoutMs: IMAGES_MS_MAX }),
      connected: () => link.connected,
    },
    deps.config.mirror,
  );
  const following = new Following({
    ...deps,
    sources,
    publishing,
    connected: () => link.connected,
    moveTag: async (ref, tag) => (await link.request({ kind: "tag", ...ref, tag })).moved,
  });
  return { artifacts, publishing, mirroring, following };
}

/** The port after the node's unless another is set. */
function bulkEndpoint({ listen, port, bulkPort }: AgentConfig["mesh"]) {
  const next = port === 0 || port === 65535 ? 0 : port + 1;
  return { host: listen, port: bulkPort ?? next, insist: bulkPort !== undefined && bulkPort > 0 };
}

function multiaddr(address: string, port: number): string {
  return `/${address.includes(":") ? "ip6" : "ip4"}/${address}/tcp/${port}`;
}

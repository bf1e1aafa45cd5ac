import { generateKeyPairSync, randomBytes } from "node:crypto";
import { afterEach, expect, test } from "vitest";
import type { Manifest, SignedManifest } from "../../shared/domain.ts";
import { signManifest } from "../../shared/manifest.ts";
import { HOSTS_PUBLISH, type Publisher } from "../../shared/publishers.ts";
import { holdOf, TestFleet, type TestHost, until, writeTree } from "./mesh.fixture.ts";

let fleet = new TestFleet();
afterEach(async () => {
  await fleet.close();
  fleet = new TestFleet();
});

const ask = { priority: 1, foreground: true, signal: new AbortController().signal };
const ci = generateKeyPairSync("ed25519");
const CI = ci.publicKey.export({ format: "jwk" }).x ?? "";
const byCi = (manifest: Manifest) => signManifest(manifest, ci.privateKey);
const ruleOf = (rule: Partial<Publisher>): Publisher[] => [
  ...HOSTS_PUBLISH,
  { name: "ci", publicKey: CI, names: ["thing"], trusted: true, ...rule },
];

function tell(hosts: TestHost[], publishers: readonly Publisher[] = HOSTS_PUBLISH): void {
  const members = hosts.map((h) => h.member);
  for (const { mesh } of hosts) mesh.setMembers(members, publishers);
}

/** Two hosts, and a version at the first that a publisher's own key has signed. */
async function published(): Promise<{ a: TestHost; b: TestHost; signed: SignedManifest }> {
  const [a, b] = [await fleet.start("a"), await fleet.start("b")];
  tell([a, b], ruleOf({}));
  const dir = await fleet.folder();
  await writeTree(dir, { f: randomBytes(1 << 20) });
  const what = { name: "thing", version: "1", originUrl: null, keep: true, sign: byCi };
  const signed = await a.mesh.publish(dir, what);
  return { a, b, signed };
}

test.each([
  ["key-unknown", HOSTS_PUBLISH],
  ["key-distrusted", ruleOf({ trusted: false })],
  ["name-not-allowed", ruleOf({ names: ["other"] })],
] as const)(
  "mesh: a version is not fetched (%s), from the coordinator or a peer",
  async (reason, list) => {
    const { a, b, signed } = await published();
    tell([b], list);
    b.mesh.setMembers([a.member, b.member], list);
    await until(() => b.mesh.connectedHosts().length === 1);
    fleet.manifests.set(signed.hash, signed);
    const refused = { code: "FORBIDDEN", details: { reason } };
    await expect(b.mesh.ensure(signed.hash, ask)).rejects.toMatchObject(refused);
    fleet.manifests.clear();
    await expect(b.mesh.ensure(signed.hash, ask)).rejects.toThrow();
    expect(b.mesh.holdings()).toEqual([]);
    expect(b.mesh.counters().peerBytes).toBe(0);
  },
);

test("mesh: a publisher's key counts where it is trusted, with the coordinator away", async () => {
  const { b, signed } = await published();
  await until(() => b.mesh.connectedHosts().length === 1);
  await b.mesh.ensure(signed.hash, ask);
  expect(b.mesh.holdings()).toMatchObject([{ active: true }]);
});

test("mesh: what a distrusted key signed stays while it is pinned, then goes; nothing new of it", async () => {
  const { a, b, signed } = await published();
  await until(() => b.mesh.connectedHosts().length === 1);
  await b.mesh.ensure(signed.hash, ask);
  b.mesh.pins.add(signed.hash, "environment");
  b.mesh.setHold([holdOf(signed)]);
  tell([a, b], ruleOf({ trusted: false }));
  const refused = { code: "FORBIDDEN", details: { reason: "key-distrusted" } };
  await expect(b.mesh.ensure(signed.hash, ask)).rejects.toMatchObject(refused);
  await until(() => a.mesh.holdings().length === 0); // nothing pins it there
  expect(b.mesh.path(signed.hash)).not.toBeNull();
  b.mesh.pins.remove(signed.hash, "environment");
  await until(() => b.mesh.holdings().length === 0);
  expect(b.mesh.orderStates()).toMatchObject([{ state: "failed", code: "FORBIDDEN" }]);
});

test("mesh: a key distrusted in mid-transfer ends it; trusted again, it is taken up", async () => {
  const { a, b, signed } = await published();
  const distrusted = ruleOf({ trusted: false });
  fleet.manifests.set(signed.hash, signed);
  b.mesh.setHold([holdOf(signed)]); // no rate yet: it has the manifest and waits
  await until(() => b.mesh.holdings().length === 1);
  b.mesh.setMembers([a.member, b.member], distrusted);
  await until(() => b.mesh.orderStates()[0]?.code === "FORBIDDEN");
  await until(() => b.mesh.holdings().length === 0);
  b.mesh.setMembers([a.member, b.member], ruleOf({}));
  b.mesh.setRate(1e9);
  await until(() => b.mesh.orderStates()[0]?.state === "done");
});

test("mesh: what was stored before a restart is judged by the list heard after it", async () => {
  const { a, b, signed } = await published();
  await until(() => b.mesh.connectedHosts().length === 1);
  await b.mesh.ensure(signed.hash, ask);
  await b.stop();
  fleet.hosts.splice(fleet.hosts.indexOf(b), 1);
  const again = await fleet.start("b", { dir: b.dir });
  expect(again.mesh.holdings()).toHaveLength(1);
  again.mesh.setMembers([a.member, again.member], ruleOf({ trusted: false }));
  await until(() => again.mesh.holdings().length === 0);
});

test("mesh: the same body signed anew by a stranger is no way around the list", async () => {
  const { b, signed } = await published();
  const stranger = generateKeyPairSync("ed25519").privateKey;
  const forged = signManifest(JSON.parse(signed.body), stranger);
  expect(forged.hash).toBe(signed.hash);
  fleet.manifests.set(signed.hash, forged);
  b.mesh.setMembers([b.member], ruleOf({}));
  const refused = { code: "FORBIDDEN", details: { reason: "key-unknown" } };
  await expect(b.mesh.ensure(signed.hash, ask)).rejects.toMatchObject(refused);
});

import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { signManifest } from "../../shared/manifest.ts";
import { peerIdOf } from "../../shared/peer-id.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { SimulatedClock } from "../../test/support/clock.ts";
import { Store } from "../store/store.ts";
import { Trust } from "./trust.ts";

const BY = { name: "user:ann", address: "127.0.0.1" };
const newKey = () => generateKeyPairSync("ed25519").privateKey;
const publicOf = (key: ReturnType<typeof newKey>) => {
  const { x } = key.export({ format: "jwk" });
  return x ?? "";
};
const ci = publicOf(newKey());
const hostKey = newKey();
let dir: string;
let store: Store;
let trust: Trust;

const open = () =>
  Trust.open({
    dataDir: dir,
    store,
    clock: new SimulatedClock(Date.UTC(2030, 0, 1)),
    log: silentLog,
    hostnames: ["a.example"],
    fleet: "f",
  });
const enrol = (host: string, publicKey: string) =>
  store.commit(() => {
    const peerId = peerIdOf(Buffer.from(publicKey, "base64url"));
    store.identities.putHost({ host, site: "s", peerId, publicKey, enrolledMs: 1 });
    store.identities.raiseEpoch();
  });
const publish = (host: string, key: ReturnType<typeof newKey>, version: string) => {
  const facts = { name: "maps", version, bytes: 0, createdMs: 1, publisher: host, originUrl: null };
  const signed = signManifest({ ...facts, files: [] }, key);
  return store.artifacts.put(signed, { ...facts, files: 0 }, []);
};
const judge = (key: string, name = "maps") => trust.publishers.policy().judge(key, name);

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "prestage-publishers-"));
  store = Store.open(dir);
  trust = await open();
  await enrol("edge-1", publicOf(hostKey));
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true, force: true });
});

test("publishers: at first every enrolled host may publish, and nobody else", () => {
  expect(judge(publicOf(hostKey))).toBe(null);
  expect(judge(ci)).toBe("key-unknown");
  expect(trust.publishers.views()).toMatchObject([{ name: "hosts" }, { name: "coordinator" }]);
  expect(statSync(join(dir, "publisher.key")).mode & 0o777).toBe(0o600);
});

test("publishers: a trusted key goes to the agents with a new epoch, and survives a restart", async () => {
  const heard: string[][] = [];
  trust.onMembers(({ publishers }) => heard.push(publishers.map((p) => p.name)));
  const before = trust.members().epoch;
  await trust.publishers.trust({ name: "ci", publicKey: ci, names: ["maps*"] }, BY);
  expect(heard).toEqual([["hosts", "coordinator", "ci"]]);
  expect(trust.members().epoch).toBe(before + 1);
  trust = await open();
  expect(judge(ci)).toBe(null);
  expect(judge(ci, "tiles")).toBe("name-not-allowed");
  await trust.publishers.distrust("ci", BY);
  expect(judge(ci)).toBe("key-distrusted");
  await trust.publishers.trust({ name: "ci", publicKey: null, names: null }, BY);
  expect(judge(ci)).toBe(null);
});

test("publishers: each change and each refusal is in the audit trail", async () => {
  await trust.publishers.trust({ name: "ci", publicKey: ci, names: ["*"] }, BY);
  await trust.publishers.distrust("ci", BY);
  await expect(trust.publishers.distrust("cy", BY)).rejects.toMatchObject({ code: "NOT_FOUND" });
  await trust.audit.flush();
  const rows = trust.audit.newest(10).map(({ action, outcome, actor }) => [action, outcome, actor]);
  expect(rows).toEqual([
    ["publisher.distrust", "refused", "user:ann"],
    ["publisher.distrust", "ok", "user:ann"],
    ["publisher.trust", "ok", "user:ann"],
  ]);
});

test.each([
  ["the coordinator's own name", { name: "coordinator", publicKey: ci, names: ["*"] }, "USAGE"],
  [
    "a key of a host as one of its own",
    { name: "ci", publicKey: publicOf(hostKey), names: ["*"] },
    "CONFLICT",
  ],
  ["a new name without a key", { name: "ci", publicKey: null, names: ["*"] }, "USAGE"],
  ["a new key without names", { name: "ci", publicKey: ci, names: null }, "USAGE"],
  ["hosts with a key", { name: "hosts", publicKey: ci, names: ["*"] }, "USAGE"],
  ["a host nobody knows", { name: "host:edge-9", publicKey: null, names: ["*"] }, "NOT_FOUND"],
])("publishers: %s is refused", async (_, wish, code) => {
  await expect(trust.publishers.trust(wish, BY)).rejects.toMatchObject({ code });
});

test("publishers: a name stands for one key, a key for one name", async () => {
  await trust.publishers.trust({ name: "ci", publicKey: ci, names: ["*"] }, BY);
  const other = publicOf(newKey());
  const again = trust.publishers.trust({ name: "ci", publicKey: other, names: ["*"] }, BY);
  await expect(again).rejects.toMatchObject({ code: "CONFLICT" });
  const twice = trust.publishers.trust({ name: "ci2", publicKey: ci, names: ["*"] }, BY);
  await expect(twice).rejects.toMatchObject({ code: "CONFLICT" });
});

test("publishers: a host publishes with its own key or a listed one, never with another host's", async () => {
  const other = publicOf(newKey());
  await enrol("edge-2", other);
  const check =
    (key: string, name = "maps") =>
    () =>
      trust.publishers.checkPublication("edge-1", key, name);
  expect(check(publicOf(hostKey))).not.toThrow();
  expect(check(other)).toThrow(/trust list/);
  expect(check(ci)).toThrow(/trust list/);
  expect(check(publicOf(hostKey), "prestage-affinity")).toThrow(/fleet's own/);
  await trust.publishers.trust({ name: "ci", publicKey: ci, names: ["maps"] }, BY);
  expect(check(ci)).not.toThrow();
  expect(check(ci, "tiles")).toThrow(/may not publish/);
});

test("publishers: what a host signed counts after it was revoked or joined anew, until distrusted", async () => {
  await publish("edge-1", hostKey, "1");
  await trust.revoke("edge-1", BY);
  expect(judge(publicOf(hostKey))).toBe(null);
  const newer = newKey();
  await enrol("edge-1", publicOf(newer));
  await publish("edge-1", newer, "2");
  expect([judge(publicOf(hostKey)), judge(publicOf(newer))]).toEqual([null, null]);
  await trust.publishers.distrust("host:edge-1", BY);
  const both = [judge(publicOf(hostKey)), judge(publicOf(newer))];
  expect(both).toEqual(["key-distrusted", "key-distrusted"]);
});

test("publishers: hosts may be kept from publishing at all", async () => {
  await trust.publishers.distrust("hosts", BY);
  expect(judge(publicOf(hostKey))).toBe("key-distrusted");
  await trust.publishers.trust({ name: "host:edge-1", publicKey: null, names: ["maps"] }, BY);
  expect(judge(publicOf(hostKey))).toBe(null);
  expect(judge(publicOf(hostKey), "tiles")).toBe("name-not-allowed");
});

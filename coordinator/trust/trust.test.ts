import { X509Certificate } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { silentLog } from "../../shared/runtime/log.ts";
import { SimulatedClock } from "../../test/support/clock.ts";
import { Store } from "../store/store.ts";
import { newApiToken, newJoinToken, parseApiToken, parseJoinToken } from "./tokens.ts";
import { Trust } from "./trust.ts";

const BY = { name: "user:test", address: "127.0.0.1" };
const HOUR = 3_600_000;
let dir: string;
let store: Store;
let clock: SimulatedClock;

const open = (fleet = "f") =>
  Trust.open({
    dataDir: dir,
    store,
    clock,
    log: silentLog,
    hostnames: ["a.example", "::1"],
    fleet,
  });
const seedHost = (host: string) =>
  store.commit(() => {
    const row = { host, site: "s", peerId: `p-${host}`, publicKey: "k", enrolledMs: 1 };
    store.identities.putHost(row);
    store.identities.raiseEpoch();
  });

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "prestage-trust-"));
  store = Store.open(dir);
  clock = new SimulatedClock(Date.UTC(2030, 0, 1));
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true, force: true });
});

describe("the fleet's CA", () => {
  test("is made once, its key for the owner only", async () => {
    const first = await open();
    expect((await open()).caPem).toBe(first.caPem);
    expect(statSync(join(dir, "ca.key")).mode & 0o777).toBe(0o600);
    const root = new X509Certificate(first.caPem);
    expect(root.ca).toBe(true);
    expect(root.subjectAltName).toBe("URI:prestage://f/root");
    expect(root.publicKey.asymmetricKeyDetails?.namedCurve).toBe("prime256v1");
  });

  test("a key that others may read is refused with the remedy", async () => {
    await open();
    chmodSync(join(dir, "ca.key"), 0o644);
    await expect(open()).rejects.toThrow(/chmod 600/);
  });

  test("is not made anew while hosts are enrolled (the key file is gone)", async () => {
    await open();
    await seedHost("edge-1");
    rmSync(join(dir, "ca.key"));
    await expect(open()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  test("a root of another fleet, and one of another key, are refused", async () => {
    await open();
    await expect(open("g")).rejects.toThrow(/fleet f/);
    const pem = readFileSync(join(dir, "ca.pem"));
    rmSync(join(dir, "ca.key"));
    rmSync(join(dir, "ca.pem"));
    await open();
    writeFileSync(join(dir, "ca.pem"), pem);
    await expect(open()).rejects.toThrow(/does not belong/);
  });

  test("a crash between key and certificate is healed (key there, certificate not)", async () => {
    await open();
    const key = readFileSync(join(dir, "ca.key"), "utf8");
    rmSync(join(dir, "ca.pem"));
    await open();
    expect(readFileSync(join(dir, "ca.key"), "utf8")).toBe(key);
  });

  test("the listener's certificate names the hosts, starts 10 s back, lives 24 h", async () => {
    const { cert } = (await open()).serverTls();
    const certificate = new X509Certificate(cert);
    expect(certificate.checkHost("a.example")).toBe("a.example");
    expect(certificate.checkIP("::1")).toBe("::1");
    expect(clock.now() - certificate.validFromDate.getTime()).toBe(10_000);
    expect(certificate.validToDate.getTime() - clock.now()).toBe(24 * HOUR);
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
  });
});

describe("upkeep", () => {
  test("the listener gets a new certificate after half a day", async () => {
    const trust = await open();
    const given: string[] = [];
    trust.onServerTls(({ cert }) => given.push(cert));
    const stopping = new AbortController();
    const running = trust.run(stopping.signal);
    const passes = async (hours: number) => {
      await clock.advance(hours * HOUR);
      await store.commit(() => undefined);
      await clock.advance(60_000);
    };
    await passes(11);
    expect(given).toHaveLength(0);
    await passes(2);
    await expect.poll(() => given.length).toBe(1);
    expect(given).toEqual([trust.serverTls().cert]);
    stopping.abort();
    await running;
  });
});

describe("members", () => {
  test("the epoch rises only when the list changes", async () => {
    const trust = await open();
    await seedHost("edge-1");
    const heard: number[] = [];
    trust.onMembers(({ epoch }) => heard.push(epoch));
    const addresses = { meshAddresses: ["/ip4/1.2.3.4/tcp/1"], routerUrl: "http://1.2.3.4:80" };
    await trust.updateMember("edge-1", addresses);
    await trust.updateMember("edge-1", addresses);
    await trust.updateMember("stranger", addresses);
    expect(heard).toEqual([2]);
    expect(trust.members()).toMatchObject({
      epoch: 2,
      members: [{ host: "edge-1", site: "s", peerId: "p-edge-1", ...addresses }],
    });
  });

  test("the epoch is not lost by a restart", async () => {
    const trust = await open();
    await seedHost("edge-1");
    await trust.revoke("edge-1", BY);
    store.close();
    store = Store.open(dir);
    expect((await open()).members()).toMatchObject({ epoch: 2, members: [] });
  });
});

describe("API tokens", () => {
  test("the first admin token is given once; when its file is lost, a new one", async () => {
    const trust = await open();
    const first = (await trust.firstAdminToken()) ?? "";
    expect(trust.authenticate(first)).toEqual({ name: "first-admin", role: "admin" });
    expect(await trust.firstAdminToken()).toBeNull();
    const next = (await trust.firstAdminToken({ lost: true })) ?? "";
    expect(trust.authenticate(first)).toBeNull();
    expect(trust.authenticate(next)).toMatchObject({ role: "admin" });
  });

  test("end when they expire, and nothing like them works", async () => {
    const trust = await open();
    const { token } = await trust.access.create({ name: "t", role: "viewer", ttlMs: HOUR }, BY);
    expect(trust.authenticate(token)).toEqual({ name: "t", role: "viewer" });
    const last = token.endsWith("A") ? "B" : "A";
    for (const wrong of ["", "x", `${token}x`, token.slice(0, -5) + last.repeat(5)])
      expect(trust.authenticate(wrong)).toBeNull();
    await clock.advance(HOUR);
    expect(trust.authenticate(token)).toBeNull();
  });

  test("show when they were last used, and are stored only as hashes", async () => {
    const trust = await open();
    const { token } = await trust.access.create({ name: "t", role: "viewer", ttlMs: null }, BY);
    trust.authenticate(token);
    await trust.access.flush();
    expect(trust.access.list()).toMatchObject([{ name: "t", lastUsedMs: clock.now() }]);
    store.close();
    const bytes = readFileSync(join(dir, "prestage.db")).toString("latin1");
    expect(bytes).not.toContain(token.split(".")[2]);
    store = Store.open(dir);
  });

  test("a name is taken once", async () => {
    const trust = await open();
    const request = { name: "t", role: "viewer", ttlMs: null } as const;
    await trust.access.create(request, BY);
    await expect(trust.access.create(request, BY)).rejects.toMatchObject({ code: "CONFLICT" });
  });
});

describe("token texts", () => {
  test("are read back as they were made", () => {
    const join = newJoinToken("ab".repeat(32));
    expect(parseJoinToken(join.text)).toMatchObject({ id: join.id, rootHash: "ab".repeat(32) });
    expect(parseJoinToken(join.text)?.secretHash).toEqual(join.secretHash);
    const api = newApiToken();
    expect(parseApiToken(api.text)).toEqual({ id: api.id, secretHash: api.secretHash });
    expect(parseJoinToken(api.text)).toBeNull();
    expect(parseApiToken(join.text)).toBeNull();
  });
});

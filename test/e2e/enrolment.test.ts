/** Joining, renewing and being refused, over real sockets with both sides' real code. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { enroll } from "../../agent/trust/enroll.ts";
import { type Identity, loadHostKey, loadIdentity } from "../../agent/trust/identity.ts";
import { Renewal } from "../../agent/trust/renewal.ts";
import type { Identified } from "../../coordinator/trust/identify.ts";
import type { PrestageError } from "../../shared/errors.ts";
import { type Clock, systemClock } from "../../shared/runtime/clock.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { seededRandom, systemRandom } from "../../shared/runtime/random.ts";
import { type TrustedGateway, trustedGateway } from "../support/trusted-gateway.ts";

const BY = { name: "user:test", address: "127.0.0.1" };
const DAY = 24 * 3_600_000;
let shiftMs = 0;
/** Real time, moved by the test. */
const clock: Clock = { ...systemClock, now: () => systemClock.now() + shiftMs };
const dirs: string[] = [];
let at: TrustedGateway;

function newDir(): string {
  const dir = mkdtempSync(join(tmpdir(), "prestage-agent-"));
  dirs.push(dir);
  return dir;
}
async function newToken(request: { ttlMs?: number; host?: string; site?: string } = {}) {
  return (await at.trust.createJoinToken(request, BY)).token;
}
function join1(host: string, token: string, dir = newDir()): Promise<Identity> {
  const random = seededRandom(1);
  return enroll({ dir, coordinatorUrl: at.url, token, host, site: "s1", clock, random });
}
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "done",
    (cause: PrestageError) => cause.code,
  );
async function audited(action: string) {
  await at.trust.audit.flush();
  return at.trust.audit.newest(1000).filter((row) => row.action === action);
}

/** What the coordinator makes of a connection with this certificate. */
async function identified(
  client: { key: string; cert: string } | null,
  how: (socket: TLSSocket) => Identified = (socket) => at.trust.identify(socket),
): Promise<Identified> {
  const result = Promise.withResolvers<Identified>();
  at.gateway.server.once("secureConnection", (socket) => result.resolve(how(socket)));
  const { port } = at;
  const socket = connect({ port, host: "localhost", ...client, ca: at.trust.caPem });
  socket.on("error", result.reject);
  const value = await result.promise;
  socket.destroy();
  return value;
}

beforeEach(async () => {
  shiftMs = 0;
  at = await trustedGateway({ clock });
});
afterEach(async () => {
  await at.stop();
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

describe("enrolment", () => {
  test("a host joins with a token and is a member with its libp2p identity", async () => {
    const identity = await join1("edge-1", await newToken());
    expect(identity).toMatchObject({ host: "edge-1", site: "s1", fleet: "test" });
    expect(at.trust.members()).toMatchObject({
      epoch: 1,
      members: [{ host: "edge-1", site: "s1", peerId: identity.peerId }],
    });
    expect(await identified(identity.linkTls())).toMatchObject({ host: "edge-1" });
    expect(statSync(join(identity.dir, "identity.key")).mode & 0o777).toBe(0o600);
    expect(await audited("host.enroll")).toMatchObject([{ outcome: "ok", object: "edge-1" }]);
  });

  test("unknown, used, expired and ill-bound tokens get one answer, each audited", async () => {
    const used = await newToken();
    await join1("first", used);
    const expired = await newToken({ ttlMs: 1_000 });
    shiftMs = 2_000;
    const good = await newToken();
    const unknown = good.replace(/^ps1\.[^.]+/, "ps1.AAAAAAAAAAAA");
    const wrongSecret = good.replace(/\.[^.]{43}\./, `.${"A".repeat(43)}.`);
    const bound = await newToken({ host: "other" });
    const boundSite = await newToken({ site: "elsewhere" });
    const tokens = { unknown, wrongSecret, used, expired, bound, boundSite };
    const answers = await Promise.all(
      Object.values(tokens).map((token) =>
        join1("second", token).catch(({ code, message, details }: PrestageError) =>
          JSON.stringify({ code, message, details }),
        ),
      ),
    );
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain("TOKEN_REFUSED");
    const reasons = (await audited("host.enroll"))
      .filter(({ outcome }) => outcome === "refused")
      .map(({ detail }) => detail.reason)
      .sort();
    expect(reasons).toEqual(
      ["expired", "other host name", "other site", "unknown", "unknown", "used"].sort(),
    );
    expect(at.trust.members().members.map(({ host }) => host)).toEqual(["first"]);
  });

  test("the same key with the same token is the same host (the answer was lost)", async () => {
    const token = await newToken();
    const dir = newDir();
    const first = await join1("edge-1", token, dir);
    rmSync(join(dir, "identity.json"));
    const again = await join1("edge-1", token, dir);
    expect(again.peerId).toBe(first.peerId);
    expect(at.trust.hosts()).toHaveLength(1);
    expect(at.trust.members().epoch).toBe(1);
    expect(await identified(again.linkTls())).toMatchObject({ host: "edge-1" });
  });

  test("one of 50 parallel redemptions wins (50 keys, one token, 5 tokens)", async () => {
    for (let round = 0; round < 5; round++) {
      const token = await newToken();
      const codes = await Promise.all(
        Array.from({ length: 50 }, (_, i) => codeOf(join1(`r${round}-${i}`, token))),
      );
      expect(codes.filter((code) => code === "done")).toHaveLength(1);
      expect(codes.filter((code) => code === "TOKEN_REFUSED")).toHaveLength(49);
    }
    expect(at.trust.hosts()).toHaveLength(5);
    expect(at.trust.audit.verify().ok).toBe(true);
  });

  test("a name that lives is not taken over, unless the token is bound to it", async () => {
    const old = await join1("edge-1", await newToken());
    const token = await newToken();
    expect(await codeOf(join1("edge-1", token))).toBe("CONFLICT");
    expect(await codeOf(join1("edge-2", token))).toBe("done");
    const gone: string[] = [];
    at.trust.onRevoked((host) => gone.push(host));
    const next = await join1("edge-1", await newToken({ host: "edge-1" }));
    expect(gone).toEqual(["edge-1"]);
    expect(await identified(old.linkTls())).toMatchObject({ refused: "REVOKED" });
    expect(await identified(next.linkTls())).toMatchObject({ host: "edge-1" });
  });

  test("a secret is not sent to a coordinator with another root", async () => {
    const token = (await newToken()).replace(/[0-9a-f]{64}$/, "0".repeat(64));
    const posts: string[] = [];
    at.gateway.server.on("request", ({ method }) => posts.push(method ?? ""));
    expect(await codeOf(join1("edge-1", token))).toBe("CA_MISMATCH");
    expect(posts).toEqual(["GET"]);
  });

  test("a man in the middle who shows the true root is not sent the secret either", async () => {
    const token = await newToken();
    const other = await join1("other", await newToken());
    const { cert, key } = other.linkTls();
    const heard: string[] = [];
    const liar = createServer({ cert, key }, (request, response) => {
      heard.push(request.url ?? "");
      response.end(at.trust.caPem);
    });
    await new Promise<void>((resolve) => liar.listen(0, "127.0.0.1", resolve));
    const { port } = liar.address() as AddressInfo;
    const coordinatorUrl = `https://127.0.0.1:${port}`;
    const options = { dir: newDir(), coordinatorUrl, token, host: "edge-1", site: "s1", clock };
    expect(await codeOf(enroll(options))).toBe("UNREACHABLE");
    expect(heard).toEqual(["/api/v1/ca"]);
    await new Promise((resolve) => liar.close(resolve));
  });

  test("a key is not enrolled by who does not hold it (proof of another key)", async () => {
    const mine = loadHostKey(newDir());
    const publicKey = Buffer.from(loadHostKey(newDir()).publicKeyRaw).toString("base64url");
    const body = { token: await newToken(), publicKey, peerId: mine.peerId, host: "x", site: "s" };
    const answer = await at.ask("/api/v1/enroll", {
      method: "POST",
      body: { ...body, proof: "A".repeat(86) },
    });
    expect(JSON.parse(answer.text).error.code).toBe("PROTOCOL");
    expect(at.trust.hosts()).toEqual([]);
  });
});

describe("enrolment rate", () => {
  test("attempts over the burst are refused and audited (one address)", async () => {
    await at.stop();
    at = await trustedGateway({ clock, enrollLimits: { ratePerSecond: 0.01, burst: 3 } });
    const body = {
      token: "ps1.x",
      publicKey: "A".repeat(43),
      peerId: "p",
      host: "h",
      site: "s",
      proof: "A".repeat(86),
    };
    const statuses: number[] = [];
    for (let i = 0; i < 5; i++)
      statuses.push((await at.ask("/api/v1/enroll", { method: "POST", body })).status);
    expect(statuses).toEqual([403, 403, 403, 429, 429]);
    const rows = await audited("host.enroll");
    expect(rows.some(({ detail }) => detail.code === "RATE_LIMITED")).toBe(true);
  });
});

describe("a fleet behind one address", () => {
  test("all hosts get in, each in its turn (12 hosts, burst 2)", async () => {
    await at.stop();
    at = await trustedGateway({ clock, enrollLimits: { ratePerSecond: 50, burst: 2 } });
    const hurried: Clock = {
      ...clock,
      sleep: (ms, options) => systemClock.sleep(ms / 50, options),
    };
    const joining = Array.from({ length: 12 }, async (_, i) => {
      const options = { dir: newDir(), coordinatorUrl: at.url, token: await newToken() };
      const random = seededRandom(i);
      return enroll({ ...options, host: `edge-${i}`, site: "s1", clock: hurried, random });
    });
    await Promise.all(joining);
    expect(at.trust.members().members).toHaveLength(12);
  });
});

describe("who connects", () => {
  test("no certificate and one of another CA are refused, with an audit line", async () => {
    expect(await identified(null)).toMatchObject({ refused: "UNAUTHENTICATED" });
    // Same fleet name, same host, right role, in date: only the root tells them apart.
    const mine = at;
    at = await trustedGateway({ clock });
    const foreign = await join1("edge-1", await newToken());
    const other = at;
    at = mine;
    await join1("edge-1", await newToken());
    expect(await identified(foreign.linkTls())).toEqual({
      refused: "UNAUTHENTICATED",
      reason: "another CA",
    });
    await other.stop();
    const rows = await audited("agent.connect");
    expect(rows.map(({ detail }) => detail.reason).sort()).toEqual([
      "another CA",
      "no certificate",
    ]);
  });

  test("the coordinator's own certificate is no agent", async () => {
    const { key, cert } = at.trust.serverTls();
    expect(await identified({ key, cert })).toMatchObject({ refused: "FORBIDDEN" });
  });

  test("an agent's certificate is no server (to another agent)", async () => {
    const { key, cert, ca } = (await join1("edge-1", await newToken())).linkTls();
    const server = createTlsServer({ key, cert });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const socket = connect({ port, host: "127.0.0.1", ca, checkServerIdentity: () => undefined });
    const outcome = await new Promise<string>((resolve) => {
      socket.once("secureConnect", () => resolve("accepted"));
      socket.once("error", (cause) => resolve((cause as NodeJS.ErrnoException).code ?? ""));
    });
    expect(outcome).toBe("INVALID_PURPOSE");
    socket.destroy();
    server.close();
  });

  test("a member may fetch model files, a revoked one not", async () => {
    const { key, cert } = (await join1("edge-1", await newToken())).linkTls();
    const folder = join(at.dir, "models", "3");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "model.onnx"), "weights");
    const fetched = await at.ask("/models/3/model.onnx", { client: { key, cert } });
    expect([fetched.status, fetched.text]).toEqual([200, "weights"]);
    expect((await at.ask("/models/4/model.onnx", { client: { key, cert } })).status).toBe(404);
    await at.trust.revoke("edge-1", BY);
    expect((await at.ask("/models/3/model.onnx", { client: { key, cert } })).status).toBe(403);
  });

  test("a revoked host is refused, leaves the list, and may join anew", async () => {
    const identity = await join1("edge-1", await newToken());
    await join1("edge-2", await newToken());
    const gone: string[] = [];
    const lists: number[] = [];
    at.trust.onRevoked((host) => gone.push(host));
    at.trust.onMembers(({ members }) => lists.push(members.length));
    expect(await at.trust.revoke("edge-1", BY)).toBe(3);
    expect({ gone, lists }).toEqual({ gone: ["edge-1"], lists: [1] });
    expect(at.trust.members().members.map(({ host }) => host)).toEqual(["edge-2"]);
    expect(await identified(identity.linkTls())).toMatchObject({ refused: "REVOKED" });
    expect(await codeOf(at.trust.revoke("edge-1", BY))).toBe("NOT_FOUND");
    const back = await join1("edge-1", await newToken(), identity.dir);
    expect(await identified(back.linkTls())).toMatchObject({ host: "edge-1" });
    expect(await identified(identity.linkTls())).toMatchObject({ refused: "REVOKED" });
  });

  test("an expired certificate only renews, for 30 days", async () => {
    const identity = await join1("edge-1", await newToken());
    const renewal = (socket: TLSSocket) => at.trust.identifyForRenewal(socket);
    shiftMs = DAY + 60_000;
    expect(await identified(identity.linkTls())).toMatchObject({ reason: "expired" });
    expect(await identified(identity.linkTls(), renewal)).toMatchObject({ host: "edge-1" });
    shiftMs = 32 * DAY;
    expect(await identified(identity.linkTls(), renewal)).toMatchObject({ reason: "expired" });
    shiftMs = -60_000;
    expect(await identified(identity.linkTls())).toMatchObject({ reason: "not valid yet" });
  });
});

describe("renewal", () => {
  const renewalOf = (identity: Identity) =>
    new Renewal(
      { clock, random: systemRandom(), log: silentLog, metrics: new Metrics(), identity },
      { coordinatorUrl: at.url },
    );
  const signal = new AbortController().signal;

  test("gives a certificate of the same key, kept on disk", async () => {
    const identity = await join1("edge-1", await newToken());
    const before = identity.certPem;
    shiftMs = DAY / 2;
    await renewalOf(identity).renew({ signal });
    expect(identity.certPem).not.toBe(before);
    expect(loadIdentity(identity.dir)?.certPem).toBe(identity.certPem);
    expect(await identified(identity.linkTls())).toMatchObject({ host: "edge-1" });
    expect(await audited("certificate.renew")).toMatchObject([{ object: "edge-1" }]);
  });

  test("happens by itself when half of the life is over", async () => {
    const identity = await join1("edge-1", await newToken());
    const before = identity.certPem;
    shiftMs = 0.61 * DAY;
    const stopping = new AbortController();
    const running = renewalOf(identity).run(stopping.signal);
    const renewed = () => at.store.identities.newestCertificate("edge-1")?.pem !== before;
    await expect.poll(renewed).toBe(true);
    await expect.poll(() => identity.certPem !== before).toBe(true);
    stopping.abort();
    await running;
    expect(await audited("certificate.renew")).toHaveLength(1);
  });

  test("asking again within a minute makes no second certificate", async () => {
    const identity = await join1("edge-1", await newToken());
    const before = identity.certPem;
    await renewalOf(identity).renew({ signal });
    expect(identity.certPem).toBe(before);
  });

  test("is refused to a revoked host, with an audit line", async () => {
    const identity = await join1("edge-1", await newToken());
    await at.trust.revoke("edge-1", BY);
    expect(await codeOf(renewalOf(identity).renew({ signal }))).toBe("REVOKED");
    expect(await audited("certificate.renew")).toMatchObject([{ outcome: "refused" }]);
  });
});

describe("the agent's files", () => {
  test("a key that others may read is refused with the remedy", () => {
    const dir = newDir();
    loadHostKey(dir);
    chmodSync(join(dir, "identity.key"), 0o640);
    expect(() => loadHostKey(dir)).toThrow(/chmod 600/);
  });

  test("the key stays the same, and half a joined state is refused", async () => {
    const identity = await join1("edge-1", await newToken());
    const { dir } = identity;
    expect(loadIdentity(dir)?.peerId).toBe(identity.peerId);
    const other = await join1("edge-2", await newToken());
    writeFileSync(join(dir, "identity.pem"), readFileSync(join(other.dir, "identity.pem")));
    expect(() => loadIdentity(dir)).toThrow(/join again/);
  });

  test("a folder that has not joined gives no identity, and keeps its key", () => {
    const dir = newDir();
    expect(loadIdentity(dir)).toBeNull();
    expect(loadHostKey(dir).peerId).toBe(loadHostKey(dir).peerId);
  });
});

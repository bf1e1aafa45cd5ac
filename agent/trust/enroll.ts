/**
 * Joining a fleet. The token carries the hash of the fleet's root certificate: the root is fetched
 * first, over a connection that proves nothing, and compared; only then is the secret sent, over a
 * second connection that trusts that root alone. A man in the middle thus never sees the secret.
 */
import { createHash, sign, X509Certificate } from "node:crypto";
import { Enrolled, type EnrollRequest, enrollmentProof } from "../../shared/api.ts";
import { PrestageError } from "../../shared/errors.ts";
import { assert } from "../../shared/runtime/assert.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { type Random, systemRandom } from "../../shared/runtime/random.ts";
import { backoffMs } from "../../shared/runtime/retry.ts";
import { requestJson, requestText } from "./https-json.ts";
import { type Identity, loadHostKey, loadIdentity, saveJoined } from "./identity.ts";

export type EnrollOptions = {
  dir: string;
  /** `https://HOST:PORT`. */
  coordinatorUrl: string;
  /** The whole text `ps1.ID.SECRET.ROOTHASH`; from a file or stdin, never argv or environment. */
  token: string;
  host: string;
  site: string;
  clock: Clock;
  /** Default: the operating system's. */
  random?: Random;
  signal?: AbortSignal;
};

const TOKEN = /^ps1\.([A-Za-z0-9_-]{12})\.[A-Za-z0-9_-]{43}\.([0-9a-f]{64})$/;
/** Waits for its turn when many hosts of one address join at once. */
const ATTEMPTS = 12;

/**
 * Redeems the token and keeps certificate and root in `dir`. May be called again with the same
 * token when it is not known whether it worked. Throws CA_MISMATCH, TOKEN_REFUSED, CONFLICT,
 * UNREACHABLE.
 */
export async function enroll(options: EnrollOptions): Promise<Identity> {
  const { dir, coordinatorUrl, host, site, clock, random = systemRandom(), signal } = options;
  const token = options.token.trim();
  const [, tokenId, rootHash] = TOKEN.exec(token) ?? [];
  if (!tokenId || !rootHash)
    throw new PrestageError("TOKEN_REFUSED", "this is no join token (ps1.ID.SECRET.ROOTHASH)");
  const base = new URL(coordinatorUrl);
  if (base.protocol !== "https:")
    throw new PrestageError(
      "USAGE",
      `the coordinator's URL has to start with https://, not ${base.protocol}//`,
    );

  const key = loadHostKey(dir);
  const patient = <T>(attempt: () => Promise<T>) => inTurn(attempt, { clock, random, signal });
  const ca = await patient(() => fetchRoot(base, rootHash, signal));
  const publicKey = Buffer.from(key.publicKeyRaw).toString("base64url");
  const signed = enrollmentProof({ tokenId, rootHash, publicKey, host, site });
  const proof = sign(null, Buffer.from(signed), key.privateKey).toString("base64url");
  const body = { token, publicKey, peerId: key.peerId, host, site, proof };
  const given = await patient(() => redeem({ base, ca, body, signal }));
  saveJoined(dir, { host, site, fleet: given.fleet, certPem: given.certPem, caPem: ca });
  const identity = loadIdentity(dir);
  assert(identity !== null, "a host that joined has an identity");
  return identity;
}

async function fetchRoot(base: URL, rootHash: string, signal?: AbortSignal): Promise<string> {
  const url = new URL("/api/v1/ca", base);
  const pem = await requestText({ url, method: "GET", ca: null, ...(signal ? { signal } : {}) });
  if (hashOf(pem) !== rootHash)
    throw new PrestageError(
      "CA_MISMATCH",
      `${base.origin} shows another root certificate than the one the token was made under`,
      { details: { url: base.origin } },
    );
  return pem;
}

function redeem(options: {
  base: URL;
  ca: string;
  body: EnrollRequest;
  signal: AbortSignal | undefined;
}): Promise<Enrolled> {
  const { base, ca, body, signal } = options;
  const url = new URL("/api/v1/enroll", base);
  return requestJson({ url, method: "POST", body, ca, ...(signal ? { signal } : {}) }, Enrolled);
}

/** Tries again, later and later, while the coordinator says that it is not our turn. */
async function inTurn<T>(
  attempt: () => Promise<T>,
  { clock, random, signal }: { clock: Clock; random: Random; signal: AbortSignal | undefined },
): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      return await attempt();
    } catch (cause) {
      const limited = cause instanceof PrestageError && cause.code === "RATE_LIMITED";
      if (!limited || failures >= ATTEMPTS) throw cause;
      const waitMs = backoffMs(failures, random, { baseMs: 1_000, maxMs: 30_000 });
      await clock.sleep(waitMs, signal ? { signal } : {});
    }
  }
}

/** SHA-256 of the certificate's DER, null for what is no single certificate. */
function hashOf(pem: string): string | null {
  if (!/^-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*$/.test(pem))
    return null;
  try {
    return createHash("sha256").update(new X509Certificate(pem).raw).digest("hex");
  } catch (cause) {
    throw new PrestageError("CA_MISMATCH", "the coordinator's root is no certificate", { cause });
  }
}

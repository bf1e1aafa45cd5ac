/**
 * Whose signature counts for which artifact names. The coordinator keeps the list and pushes it
 * with the members; every agent judges by the last one it heard, whoever brought the manifest.
 */
import { z } from "zod";
import { PrestageError } from "./errors.ts";
import { peerIdOf } from "./peer-id.ts";

/** Artifacts that only the coordinator publishes, such as models. */
export const RESERVED_PREFIX = "prestage-";
/** The rule for all enrolled hosts that have none of their own. */
export const ALL_HOSTS = "hosts";
/** The coordinator's own key, for reserved names. */
export const COORDINATOR = "coordinator";
export const PATTERNS_MAX = 64;

/** Raw Ed25519 public key, base64url. */
export const PublicKey = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "43 characters of base64url");
/** An artifact name in which `*` stands for any text: `maps-*`, `*`. */
export const NamePattern = z
  .string()
  .regex(/^[a-z0-9*][a-z0-9._*-]{0,63}$/, "an artifact name, in which * stands for any text");
/** `hosts`, `host:NAME`, or the name of a publisher's key. */
export const PublisherName = z
  .string()
  .regex(
    /^(host:)?[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/,
    "hosts, host:NAME, or a key's name: 1–64 of a–z 0–9 . _ -",
  );

export const Publisher = z.object({
  name: PublisherName,
  /** Null: the key of any enrolled host. */
  publicKey: PublicKey.nullable(),
  names: z.array(NamePattern).max(PATTERNS_MAX),
  /** False: what it signed is fetched and activated no more. */
  trusted: z.boolean(),
});
export type Publisher = z.infer<typeof Publisher>;

/** The list of a fleet in which nobody has changed anything: every enrolled host may publish. */
export const HOSTS_PUBLISH: readonly Publisher[] = [
  { name: ALL_HOSTS, publicKey: null, names: ["*"], trusted: true },
];

export type PublisherReason = "key-unknown" | "key-distrusted" | "name-not-allowed";

export class PublisherPolicy {
  readonly #byKey: ReadonlyMap<string, Publisher>;
  readonly #hosts: Publisher | undefined;
  readonly #memberPeers: ReadonlySet<string>;

  /** `memberPeers`: libp2p ids of the enrolled hosts, which are their keys. */
  constructor(list: readonly Publisher[], memberPeers: Iterable<string>) {
    this.#byKey = new Map(
      list.flatMap((p) => (p.publicKey === null ? [] : [[p.publicKey, p] as const])),
    );
    this.#hosts = list.find((p) => p.publicKey === null);
    this.#memberPeers = new Set(memberPeers);
  }

  /** Why a signature by this key does not count for this name; null when it does. */
  judge(publicKey: string, name: string): PublisherReason | null {
    const rule = this.#byKey.get(publicKey) ?? this.#hostRule(publicKey);
    if (!rule) return "key-unknown";
    if (!rule.trusted) return "key-distrusted";
    if (name.startsWith(RESERVED_PREFIX) && rule.name !== COORDINATOR) return "name-not-allowed";
    return rule.names.some((pattern) => matchesName(pattern, name)) ? null : "name-not-allowed";
  }

  #hostRule(publicKey: string): Publisher | undefined {
    if (!PublicKey.safeParse(publicKey).success) return undefined;
    const peer = peerIdOf(Buffer.from(publicKey, "base64url"));
    return this.#memberPeers.has(peer) ? this.#hosts : undefined;
  }
}

const SAYS: Record<PublisherReason, { message: string; remedy: string }> = {
  "key-unknown": {
    message: "its signing key is on no trust list",
    remedy: "Trust the key with `prestage publishers trust NAME --key KEY`, if it is yours.",
  },
  "key-distrusted": {
    message: "its signing key is distrusted",
    remedy: "Publish a new version with a trusted key; see `prestage publishers`.",
  },
  "name-not-allowed": {
    message: "its signing key may not publish this name",
    remedy: "Publish under a name the key may use, or widen its names; see `prestage publishers`.",
  },
};

export function publisherRefusal(reason: PublisherReason, what: string): PrestageError {
  const { message, remedy } = SAYS[reason];
  return new PrestageError("FORBIDDEN", `${what} refused: ${message}`, {
    details: { reason },
    remedy,
  });
}

/** Whether the name is one the pattern means. Linear in the name for each `*`. */
export function matchesName(pattern: string, name: string): boolean {
  const [head = "", ...rest] = pattern.split("*");
  const tail = rest.pop();
  if (tail === undefined) return pattern === name;
  if (!name.startsWith(head) || !name.endsWith(tail)) return false;
  let at = head.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return at <= name.length - tail.length;
}

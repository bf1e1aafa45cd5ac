/**
 * Container images as people and registries name them. An image is known in the fleet by the
 * origin of its artifact, `oci://REGISTRY/REPOSITORY[:TAG]@sha256:HEX`; the tag is what it was
 * called when it was published. Grammar: the OCI Distribution Specification 1.1 and, for what may
 * be left out (`docker.io`, `library/`, `latest`), the references of the Docker command line.
 */
import { hash } from "node:crypto";
import { PrestageError } from "./errors.ts";
import { RESERVED_PREFIX } from "./publishers.ts";

export const IMAGE_SCHEME = "oci:";
export const DOCKER_HUB = "docker.io";
const REPOSITORY = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;
const REPOSITORY_MAX = 255;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const REGISTRY = /^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:\d{1,5})?$/;
/** Other names under which Docker's own registry goes. */
const HUB_NAMES = new Set(["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]);

export type Repository = {
  /** `HOST[:PORT]`, lower case; Docker's is `docker.io`. */
  registry: string;
  repository: string;
};
export type ImageReference = Repository & { tag: string | null; digest: string | null };

export const isTag = (text: string) => TAG.test(text);
export const isDigest = (text: string) => DIGEST.test(text);
export const isRepository = (text: string) =>
  text.length <= REPOSITORY_MAX && REPOSITORY.test(text);

/** The registry as it is compared and kept; null when it is none. */
export function registryName(text: string): string | null {
  const name = text.toLowerCase();
  if (!REGISTRY.test(name)) return null;
  return HUB_NAMES.has(name) ? DOCKER_HUB : name;
}

/** Docker's own images stand in `library/`, which people leave out. */
export function repositoryIn(registry: string, name: string): string {
  return registry === DOCKER_HUB && !name.includes("/") ? `library/${name}` : name;
}

/**
 * `[oci://][REGISTRY/]REPOSITORY[:TAG][@DIGEST]`; without tag and digest the tag is `latest`, and
 * the registry, where it may be left out, Docker's. Throws USAGE.
 */
export function parseImage(text: string): ImageReference {
  const url = text.startsWith(`${IMAGE_SCHEME}//`);
  const rest = url ? text.slice(IMAGE_SCHEME.length + 2) : text;
  const [named = "", digest = null, ...more] = rest.split("@");
  const slash = named.indexOf("/");
  const first = named.slice(0, Math.max(slash, 0));
  const hasRegistry = slash > 0 && (url || /[.:]/.test(first) || first === "localhost");
  const registry = hasRegistry ? registryName(first) : DOCKER_HUB;
  const path = hasRegistry ? named.slice(slash + 1) : named;
  const colon = path.indexOf(":");
  const name = colon < 0 ? path : path.slice(0, colon);
  const tag = colon < 0 ? null : path.slice(colon + 1);
  const wrong = (what: string) =>
    new PrestageError("USAGE", `${text}: ${what}`, {
      remedy: "Write oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:HEX.",
    });
  if (registry === null || (url && !hasRegistry)) throw wrong("no registry in it");
  if (!isRepository(name)) throw wrong(`${JSON.stringify(name)} is no repository`);
  if (tag !== null && !isTag(tag)) throw wrong(`${JSON.stringify(tag)} is no tag`);
  if (more.length > 0 || (digest !== null && !isDigest(digest)))
    throw wrong("after @ stands sha256: and 64 hex digits");
  const repository = repositoryIn(registry, name);
  return { registry, repository, tag: tag ?? (digest === null ? "latest" : null), digest };
}

/** The reference in a manifest's origin; null when that is no image. */
export function imageOrigin(originUrl: string | null): ImageReference | null {
  if (!originUrl?.startsWith(`${IMAGE_SCHEME}//`)) return null;
  try {
    return parseImage(originUrl);
  } catch {
    return null; // published by something else that uses the scheme
  }
}

/** What all origins of a repository's images begin with. */
export const repositoryUrl = ({ registry, repository }: Repository) =>
  `${IMAGE_SCHEME}//${registry}/${repository}`;

export function imageUrl(image: ImageReference): string {
  const tag = image.tag === null ? "" : `:${image.tag}`;
  const digest = image.digest === null ? "" : `@${image.digest}`;
  return `${repositoryUrl(image)}${tag}${digest}`;
}

/** What an image's artifact is called when nobody named it. */
export function imageArtifactName({ repository }: Repository): string {
  const plain = repository.replaceAll("/", "-");
  // Names that begin so are the fleet's own.
  const flat = plain.startsWith(RESERVED_PREFIX) ? `image-${plain}` : plain;
  const short = hash("sha256", repository, "hex").slice(0, 12);
  return flat.length <= 64 ? flat : `${flat.slice(0, 51)}-${short}`;
}

/** The version of an image that nobody named: by its tag, and always by its digest. */
export function imageArtifactVersion({ tag, digest }: ImageReference & { digest: string }): string {
  const hex = digest.slice("sha256:".length);
  const named = tag?.replace(/^[._-]+/, "").slice(0, 48) ?? "";
  return named === "" ? `sha256-${hex.slice(0, 32)}` : `${named}-${hex.slice(0, 12)}`;
}

/**
 * Which of an index's images are meant: `linux/arm64`, several with commas, `all`, or `none` for
 * the manifest alone.
 */
import { arch } from "node:os";
import { PrestageError } from "../../shared/errors.ts";
import type { Descriptor } from "../../shared/image-layout.ts";

type Platform = { os: string; architecture: string; variant: string | null };
export type Platforms = "all" | "none" | readonly Platform[];

/** Node's names of architectures that images call otherwise. */
const ARCHITECTURES: Record<string, string> = {
  x64: "amd64",
  ia32: "386",
  arm: "arm",
  ppc64: "ppc64le",
};

/** What containers on this host run. */
export function ownPlatform(): Platform {
  return { os: "linux", architecture: ARCHITECTURES[arch()] ?? arch(), variant: null };
}

/** Null means this host's. Throws USAGE. */
export function parsePlatforms(text: string | null): Platforms {
  if (text === null) return [ownPlatform()];
  if (text === "all" || text === "none") return text;
  return text.split(",").map((part) => {
    const [, os, architecture, variant] =
      /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(part) ?? [];
    if (os === undefined || architecture === undefined)
      throw new PrestageError(
        "USAGE",
        `${part}: a platform is written like linux/arm64 or linux/arm/v7`,
      );
    return { os, architecture, variant: variant ?? null };
  });
}

/**
 * The images of an index for the platforms, in its order. What names no platform belongs to all.
 * Throws NOT_FOUND for a platform that the index has no image for.
 */
export function choose(manifests: readonly Descriptor[], platforms: Platforms): Descriptor[] {
  if (platforms === "none") return [];
  if (platforms === "all") return [...manifests];
  const chosen = new Set(manifests.filter((m) => m.platform === undefined));
  for (const platform of platforms) {
    const found = manifests.filter((m) => suits(m, platform));
    if (found.length === 0 && chosen.size === 0) throw missing(manifests, platform);
    for (const one of found) chosen.add(one);
  }
  return manifests.filter((m) => chosen.has(m));
}

function suits({ platform }: Descriptor, wished: Platform): boolean {
  if (platform?.os !== wished.os || platform.architecture !== wished.architecture) return false;
  // arm64 has had one variant so far, which some name and some do not.
  const implied = wished.architecture === "arm64" ? "v8" : null;
  return wished.variant === null || (platform.variant ?? implied) === wished.variant;
}

function missing(manifests: readonly Descriptor[], wished: Platform): PrestageError {
  const text = ({
    os,
    architecture,
    variant,
  }: {
    os: string;
    architecture: string;
    variant?: string | null | undefined;
  }) => [os, architecture, variant].filter(Boolean).join("/");
  const has = manifests.flatMap((m) =>
    m.platform && m.platform.os !== "unknown" ? [text(m.platform)] : [],
  );
  return new PrestageError("NOT_FOUND", `no image for ${text(wished)} in the index`, {
    details: { platforms: has },
    remedy: `It has ${has.join(", ") || "none that is named"}: choose with --platform.`,
  });
}

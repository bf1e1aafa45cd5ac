/** `mirror:` of agent.yaml. */
import { z } from "zod";
import { DOCKER_HUB, registryName } from "../../shared/image.ts";

const LOOPBACK = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\]):(\d{1,5})$/;

const Registry = z
  .string()
  .refine((text) => registryName(text) !== null, "HOST or HOST:PORT of a registry")
  .transform((text) => registryName(text) ?? text);

export const MirrorSettings = z.strictObject({
  listen: z
    .string()
    .regex(LOOPBACK, "a loopback address with its port, such as 127.0.0.1:7484")
    .nullable()
    .default(null)
    .describe(
      "Where container engines of this host pull images from; null: no mirror. Whoever runs " +
        "programs on this host can read the images of the fleet there.",
    ),
  upstreams: z
    .array(Registry)
    .max(100)
    .default([])
    .describe(
      "Registries whose images are brought into the mesh when they are first asked for. More: " +
        "less is pulled from registries, more disk of the store is used.",
    ),
  defaultRegistry: Registry.default(DOCKER_HUB).describe(
    "Meant by requests that name no registry, as those of Docker.",
  ),
  tagMs: z
    .number()
    .int()
    .min(0)
    .max(3_600_000)
    .default(5_000)
    .describe(
      "A tag is asked of its registry again after this. Higher: a moved one is seen later.",
    ),
  registryMs: z
    .number()
    .int()
    .min(100)
    .max(60_000)
    .default(2_000)
    .describe(
      "A registry that does not answer in this time counts as away; tags are then as known.",
    ),
});
export type MirrorSettings = z.infer<typeof MirrorSettings>;

/** Host and port of `listen`. */
export function listenAddress(listen: string): { host: string; port: number } {
  const [, host = "", port = ""] = LOOPBACK.exec(listen) ?? [];
  return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
}

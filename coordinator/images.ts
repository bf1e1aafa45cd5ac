/** What agents' image mirrors ask: which versions are images of a repository, and who brings one. */
import type { HostId } from "../shared/domain.ts";
import { IMAGES_MAX, type ReplyBody, type RequestBody } from "../shared/protocol/bodies.ts";
import type { Clock } from "../shared/runtime/clock.ts";
import { Claims } from "./claims.ts";
import type { Store } from "./store/store.ts";
import type { Trust } from "./trust/trust.ts";

/** Looked through for those whose signature counts. */
const ROWS_MAX = 1_000;

export type ImageCatalogDeps = {
  store: { artifacts: Pick<Store["artifacts"], "images"> };
  trust: { publishers: Pick<Trust["publishers"], "policy"> };
  clock: Clock;
};

export class ImageCatalog {
  readonly #deps: ImageCatalogDeps;
  readonly #claims = new Claims();

  constructor(deps: ImageCatalogDeps) {
    this.#deps = deps;
  }

  answer(host: HostId, body: Extract<RequestBody, { kind: "images" | "claim" }>): ReplyBody {
    const { store, trust, clock } = this.#deps;
    if (body.kind === "claim") {
      const granted = this.#claims.take(host, body.key, body.forMs, clock.monotonic());
      return { kind: "claim", granted };
    }
    const policy = trust.publishers.policy();
    const versions = store.artifacts
      .images(body.repository, body, ROWS_MAX)
      // What a tag meant is the word of who signed it: of nobody who is not trusted.
      .filter(({ publicKey, name }) => policy.judge(publicKey, name) === null)
      .slice(0, IMAGES_MAX)
      .map(({ manifestHash, originUrl, createdMs, bytes }) => ({
        manifestHash,
        originUrl,
        createdMs,
        bytes,
      }));
    return { kind: "images", versions };
  }
}

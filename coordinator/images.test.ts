import { expect, test } from "vitest";
import { IMAGES_MAX } from "../shared/protocol/bodies.ts";
import { PublisherPolicy } from "../shared/publishers.ts";
import { SimulatedClock } from "../test/support/clock.ts";
import { ImageCatalog } from "./images.ts";
import type { ImageRow } from "./store/artifacts.ts";

const key = (digit: string) => digit.repeat(43);
const row = (version: number, publicKey: string): ImageRow => ({
  name: "app",
  createdMs: version,
  bytes: 1,
  publicKey,
  manifestHash: version.toString(16).padStart(64, "0"),
  originUrl: `oci://r.example/app:v1@sha256:${version.toString(16).padStart(64, "0")}`,
});

function catalogOf(rows: ImageRow[]) {
  const rule = { names: ["*"], trusted: true };
  const list = [
    { name: "ci", publicKey: key("A"), ...rule },
    { name: "stolen", publicKey: key("B"), ...rule, trusted: false },
  ];
  return new ImageCatalog({
    store: { artifacts: { images: (_, __, limit) => rows.slice(0, limit) } },
    trust: { publishers: { policy: () => new PublisherPolicy(list, []) } },
    clock: new SimulatedClock(),
  });
}

const asked = {
  kind: "images",
  repository: "oci://r.example/app",
  tag: null,
  digest: null,
} as const;

test("images: what an untrusted key says that a tag is counts for nothing (newer ones of it)", () => {
  const bad = Array.from({ length: 300 }, (_, i) => row(1_000 - i, key(i % 2 ? "B" : "C")));
  const answer = catalogOf([...bad, row(7, key("A"))]).answer("host", asked);
  const { originUrl, manifestHash } = row(7, key("A"));
  expect(answer).toEqual({
    kind: "images",
    versions: [{ originUrl, manifestHash, createdMs: 7, bytes: 1 }],
  });
});

test("images: an answer has its bound, the latest first", () => {
  const many = Array.from({ length: 500 }, (_, i) => row(500 - i, key("A")));
  const answer = catalogOf(many).answer("host", asked);
  const times = answer.kind === "images" ? answer.versions.map((v) => v.createdMs) : [];
  expect([times.length, times[0], times.at(-1)]).toEqual([IMAGES_MAX, 500, 501 - IMAGES_MAX]);
});

test("images: one host has a claim", () => {
  const catalog = catalogOf([]);
  const claim = { kind: "claim", key: "image", forMs: 1_000 } as const;
  expect(catalog.answer("a", claim)).toEqual({ kind: "claim", granted: true });
  expect(catalog.answer("b", claim)).toEqual({ kind: "claim", granted: false });
});

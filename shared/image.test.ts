import fc from "fast-check";
import { expect, test } from "vitest";
import { Name, Version } from "./domain.ts";
import {
  imageArtifactName,
  imageArtifactVersion,
  imageOrigin,
  imageUrl,
  parseImage,
} from "./image.ts";

const digest = `sha256:${"ab".repeat(32)}`;

test.each([
  ["nginx", "docker.io", "library/nginx", "latest", null],
  ["team/app:v1", "docker.io", "team/app", "v1", null],
  ["oci://docker.io/nginx", "docker.io", "library/nginx", "latest", null],
  ["oci://registry-1.docker.io/library/nginx:1", "docker.io", "library/nginx", "1", null],
  ["localhost/app", "localhost", "app", "latest", null],
  ["oci://hub/app:v1", "hub", "app", "v1", null],
  ["127.0.0.1:5000/a/b__c:V_1.x", "127.0.0.1:5000", "a/b__c", "V_1.x", null],
  ["oci://[::1]:5000/app:v1", "[::1]:5000", "app", "v1", null],
  [`oci://Reg.example/app@${digest}`, "reg.example", "app", null, digest],
  [`oci://reg.example/app:v1@${digest}`, "reg.example", "app", "v1", digest],
])("image: %s is read", (text, registry, repository, tag, expected) => {
  expect(parseImage(text)).toEqual({ registry, repository, tag, digest: expected });
});

test.each([
  "",
  "oci://",
  "oci://app",
  "oci://reg.example/",
  "oci://reg.example/App",
  "oci://reg.example/../app",
  "oci://reg.example/a//b",
  "oci://reg.example/app:",
  "oci://reg.example/app:a/b",
  "oci://reg.example/app@sha256:ab",
  `oci://reg.example/app@${digest}@${digest}`,
  "oci://user@reg.example/app",
  "oci://reg example/app",
])("image: %j is refused", (text) => {
  expect(() => parseImage(text)).toThrow(expect.objectContaining({ code: "USAGE" }));
  expect(imageOrigin(text)).toBeNull();
});

const word = fc.stringMatching(/^[a-z0-9]{1,20}$/);
const image = fc.record({
  registry: fc.stringMatching(/^[a-z0-9]{1,20}\.[a-z]{2,5}(:[1-9][0-9]{0,3})?$/),
  repository: fc.array(word, { minLength: 1, maxLength: 12 }).map((words) => words.join("/")),
  tag: fc.option(fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/)),
  digest: fc.stringMatching(/^sha256:[0-9a-f]{64}$/),
});

test("image: an origin is read as it was written, and its artifact has a valid name (any image)", () => {
  fc.assert(
    fc.property(image, (some) => {
      expect(imageOrigin(imageUrl(some))).toEqual(some);
      expect(URL.canParse(imageUrl(some))).toBe(true);
      expect(Name.safeParse(imageArtifactName(some)).success).toBe(true);
      expect(Version.safeParse(imageArtifactVersion(some)).success).toBe(true);
    }),
  );
});

test("image: its artifact has no name that is reserved", () => {
  const of = (repository: string) => imageArtifactName({ registry: "r.example", repository });
  expect([of("team/app"), of("prestage/app")]).toEqual(["team-app", "image-prestage-app"]);
});

test("image: what is no image's origin is none (a file server, nothing)", () => {
  expect(imageOrigin("https://cdn.example/tiles/")).toBeNull();
  expect(imageOrigin(null)).toBeNull();
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Refusal, spanOf } from "./answers.ts";
import { readAsked } from "./asked.ts";

const digest = `sha256:${"0a".repeat(32)}`;
const read = (target: string, method = "GET") => readAsked(method, target, "docker.io");
const refusal = (fn: () => unknown) => {
  try {
    return fn();
  } catch (cause) {
    if (!(cause instanceof Refusal)) throw cause;
    return [cause.code, cause.status];
  }
};

describe("a request to the mirror", () => {
  test.each([
    ["/v2/nginx/manifests/1", "docker.io", "library/nginx", "1"],
    ["/v2/library/nginx/manifests/latest?ns=docker.io", "docker.io", "library/nginx", "latest"],
    ["/v2/a/b/manifests/V.1_x?ns=R.example:5000", "r.example:5000", "a/b", "V.1_x"],
    ["/v2/r.example/a/b/manifests/v1", "r.example", "a/b", "v1"],
    ["/v2/r.example_5000/a/b/manifests/v1", "r.example:5000", "a/b", "v1"],
    ["/v2/localhost_5000/a/manifests/v1", "localhost:5000", "a", "v1"],
    ["/v2/127.0.0.1_5000/manifests/blobs/manifests/v1", "127.0.0.1:5000", "manifests/blobs", "v1"],
    ["//v2/a/b/manifests/v1", "docker.io", "a/b", "v1"],
    [`/v2/a/b/manifests/${digest}`, "docker.io", "a/b", digest],
    [`/v2/a/b/manifests/${encodeURIComponent(digest)}`, "docker.io", "a/b", digest],
  ])("%s is of one image", (target, registry, repository, reference) => {
    expect(read(target)).toEqual({ kind: "manifest", registry, repository, reference });
    expect(read(target, "HEAD")).toEqual(read(target));
  });

  test("asks for blobs, tags or a sign of life", () => {
    const at = { registry: "docker.io", repository: "a/b" };
    expect(read(`/v2/a/b/blobs/${digest}`)).toEqual({ kind: "blob", ...at, digest });
    expect(read("/v2/a/b/tags/list?n=3&last=x")).toEqual({
      kind: "tags",
      ...at,
      count: 3,
      after: "x",
    });
    expect(read("/v2/a/b/tags/list?n=-1")).toEqual({ kind: "tags", ...at, count: null, after: "" });
    expect([read("/v2/"), read("/v2")]).toEqual([{ kind: "ping" }, { kind: "ping" }]);
  });

  test.each([
    ["POST", "/v2/a/b/blobs/uploads/", "UNSUPPORTED", 405],
    ["PUT", "/v2/a/b/manifests/v1", "UNSUPPORTED", 405],
    ["DELETE", `/v2/a/b/blobs/${digest}`, "UNSUPPORTED", 405],
    ["GET", "/", "UNSUPPORTED", 404],
    ["GET", "/v2/_catalog", "UNSUPPORTED", 404],
    ["GET", `/v2/a/b/referrers/${digest}`, "UNSUPPORTED", 404],
    ["GET", "/v2/A/b/manifests/v1", "NAME_INVALID", 400],
    ["GET", "/v2/a/b%2f%2fc/manifests/v1", "NAME_INVALID", 400],
    ["GET", "/v2/a/%zz/manifests/v1", "NAME_INVALID", 400],
    ["GET", "/v2/a/manifests/v1?ns=u@host", "NAME_INVALID", 400],
    ["GET", "/v2/a/blobs/sha256:abc", "DIGEST_INVALID", 400],
    ["GET", "/v2/a/manifests/sha512:abc", "DIGEST_INVALID", 400],
  ])("%s %s is refused with %s", (method, target, code, status) => {
    expect(refusal(() => read(target, method))).toEqual([code, status]);
  });

  test("is read or refused, and never fails otherwise (any text)", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary-ascii" }), (text) => {
        refusal(() => read(`/v2/${text}`));
      }),
    );
  });
});

describe("a range", () => {
  test.each([
    ["bytes=0-0", 0, 0],
    ["bytes=3-", 3, 9],
    ["bytes=3-100", 3, 9],
    ["bytes=-4", 6, 9],
    ["bytes=-40", 0, 9],
  ])("%s of ten bytes is there", (header, from, to) => {
    expect(spanOf(header, 10)).toEqual({ from, to });
  });
  test.each([undefined, "", "bytes=-", "bytes=0-1,4-5", "chunks=0-1", "bytes=5-3"])(
    "%s means all of it",
    (header) => {
      expect(spanOf(header, 10)).toBeNull();
    },
  );
  test.each([
    ["bytes=10-", 10],
    ["bytes=11-20", 10],
    ["bytes=-0", 10],
    ["bytes=0-", 0],
  ])("%s of %i bytes is refused", (header, size) => {
    expect(refusal(() => spanOf(header, size))).toEqual(["RANGE_INVALID", 416]);
  });
});

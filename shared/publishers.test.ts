import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { peerIdOf } from "./peer-id.ts";
import {
  HOSTS_PUBLISH,
  matchesName,
  type Publisher,
  PublisherPolicy,
  publisherRefusal,
} from "./publishers.ts";

const newKey = () =>
  generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }).x ?? "no key";
const peerOf = (key: string) => peerIdOf(Buffer.from(key, "base64url"));
const [ci, old, host, stranger, own] = [newKey(), newKey(), newKey(), newKey(), newKey()];

const LIST: Publisher[] = [
  ...HOSTS_PUBLISH,
  { name: "ci", publicKey: ci, names: ["maps-*", "tiles"], trusted: true },
  { name: "old", publicKey: old, names: ["*"], trusted: false },
  { name: "coordinator", publicKey: own, names: ["prestage-*"], trusted: true },
];
const policy = new PublisherPolicy(LIST, [peerOf(host)]);

describe("whose signature counts for which names", () => {
  test.each([
    ["a trusted key, a name it may use", ci, "maps-eu", null],
    ["a trusted key, an exact name", ci, "tiles", null],
    ["a trusted key, a name it may not use", ci, "tiles-2", "name-not-allowed"],
    ["a distrusted key", old, "maps-eu", "key-distrusted"],
    ["an enrolled host, any name", host, "whatever", null],
    ["an enrolled host, a reserved name", host, "prestage-affinity", "name-not-allowed"],
    ["the coordinator, a reserved name", own, "prestage-affinity", null],
    ["the coordinator, another name", own, "maps-eu", "name-not-allowed"],
    ["a key nobody knows", stranger, "maps-eu", "key-unknown"],
    ["a key that is none", "AAAA", "maps-eu", "key-unknown"],
  ] as const)("%s", (_, key, name, reason) => {
    expect(policy.judge(key, name)).toBe(reason);
  });

  test("hosts may be forbidden to publish (only keys of their own count then)", () => {
    const strict = LIST.map((p) => (p.name === "hosts" ? { ...p, trusted: false } : p));
    const judge = new PublisherPolicy(strict, [peerOf(host)]);
    expect(judge.judge(host, "maps-eu")).toBe("key-distrusted");
    expect(judge.judge(ci, "maps-eu")).toBe(null);
  });

  test("a host's own rule goes before the one for all", () => {
    const rule = { name: "host:h", publicKey: host, names: ["logs"], trusted: true };
    const judge = new PublisherPolicy([...LIST, rule], [peerOf(host)]);
    expect(judge.judge(host, "logs")).toBe(null);
    expect(judge.judge(host, "maps-eu")).toBe("name-not-allowed");
  });

  test("each refusal says another thing and what to do", () => {
    const reasons = ["key-unknown", "key-distrusted", "name-not-allowed"] as const;
    const errors = reasons.map((reason) => publisherRefusal(reason, "a@1"));
    expect(new Set(errors.map((e) => e.message)).size).toBe(3);
    expect(new Set(errors.map((e) => e.remedy)).size).toBe(3);
    expect(errors.map((e) => e.details.reason)).toEqual(reasons);
  });
});

describe("name patterns", () => {
  test("agree with a regular expression", () => {
    const text = fc.array(fc.constantFrom("a", "b", "-", "*"), { maxLength: 8 });
    fc.assert(
      fc.property(text, text, (patternParts, nameParts) => {
        const pattern = patternParts.join("");
        const name = nameParts.join("").replaceAll("*", "a");
        const regex = new RegExp(`^${pattern.replaceAll("*", ".*")}$`);
        expect(matchesName(pattern, name)).toBe(regex.test(name));
      }),
    );
  });
});

import { expect, test } from "vitest";
import { PrestageError } from "../../shared/errors.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { SimulatedClock } from "../../test/support/clock.ts";
import { Tags } from "./tags.ts";

const image = { registry: "r.example", repository: "app", tag: "v1", digest: null };
const signal = new AbortController().signal;

function tagsWith(head: (signal: AbortSignal) => Promise<string>) {
  const clock = new SimulatedClock();
  const kept = new Map<string, string>();
  let asked = 0;
  const tags = new Tags(
    {
      clock,
      log: silentLog,
      head: async (_, options) => {
        asked++;
        return { digest: await head(options.signal) };
      },
      remembered: {
        get: (key) => kept.get(key) ?? null,
        set: (key, digest) => void kept.set(key, digest),
      },
    },
    { freshMs: 1_000, patienceMs: 2_000 },
  );
  return { tags, clock, kept, asked: () => asked };
}

const failing = (code: "NOT_FOUND" | "UNREACHABLE" | "FORBIDDEN") => async () => {
  throw new PrestageError(code, "as the test says");
};

test("tags: the registry's word counts, and is asked again when it is no longer fresh", async () => {
  let digest = "one";
  const { tags, clock, asked } = tagsWith(async () => digest);
  expect(await tags.digest(image, "published", { signal })).toBe("one");
  digest = "two";
  expect(await tags.digest(image, "published", { signal })).toBe("one");
  await clock.advance(1_000);
  expect(await tags.digest(image, "published", { signal })).toBe("two");
  expect(asked()).toBe(2);
});

test("tags: a registry that is away is not asked for a while; the last word counts", async () => {
  let head: (signal: AbortSignal) => Promise<string> = async () => "one";
  const { tags, clock, asked } = tagsWith((inner) => head(inner));
  await tags.digest(image, null, { signal });
  await clock.advance(5_000);
  head = failing("UNREACHABLE");
  expect(await tags.digest(image, "published", { signal })).toBe("one");
  expect(await tags.digest({ ...image, tag: "v2" }, "published", { signal })).toBe("published");
  expect(await tags.digest({ ...image, tag: "v3" }, null, { signal })).toBeNull();
  expect(asked()).toBe(2);
  head = async () => "two";
  await clock.advance(10_000);
  expect(await tags.digest(image, "published", { signal })).toBe("two");
});

test("tags: a registry that is silent counts as away after its time", async () => {
  const { tags, clock } = tagsWith(
    (inner) =>
      new Promise((_, reject) => {
        inner.addEventListener("abort", () => reject(inner.reason), { once: true });
      }),
  );
  const answer = tags.digest(image, "published", { signal });
  await clock.advance(2_000);
  expect(await answer).toBe("published");
});

test("tags: one that the registry has not is none, whatever was known; a refusal is no absence", async () => {
  const gone = tagsWith(failing("NOT_FOUND"));
  expect(await gone.tags.digest(image, "published", { signal })).toBeNull();
  const refused = tagsWith(failing("FORBIDDEN"));
  expect(await refused.tags.digest(image, "published", { signal })).toBe("published");
  await refused.tags.digest({ ...image, repository: "other" }, null, { signal });
  expect(refused.asked()).toBe(2);
});

test("tags: who gives up waiting gets his own reason, and the registry is not blamed", async () => {
  const gone = new AbortController();
  const { tags, asked } = tagsWith(async (inner) => {
    gone.abort(new Error("gone"));
    throw inner.reason;
  });
  const waiting = tags.digest(image, "published", { signal: gone.signal });
  await expect(waiting).rejects.toThrow("gone");
  await tags.digest(image, null, { signal }).catch(() => null);
  expect(asked()).toBe(2);
});

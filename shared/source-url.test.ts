import { expect, test } from "vitest";
import { PrestageError } from "./errors.ts";
import { parseSourceUrl, shownUrl } from "./source-url.ts";

test.each([
  "https://cdn.example/tiles/?v=3",
  "s3://bucket/a/b/",
  "git+https://git.example/r.git?ref=main&path=sub",
  "git+ssh://git@git.example/r.git",
  "oci://registry.example:5000/a/b:latest",
  "rsync://host/module/dir/",
  "file:///mnt/share/models/",
])("source url: takes %s", (text) => {
  expect(parseSourceUrl(text).href).toBe(text);
});

test.each([
  "https://user:hunter2@cdn.example/x",
  "https://hunter2@cdn.example/x",
  "git+ssh://git:hunter2@git.example/r.git",
  "https://cdn.example/x?X-Amz-Signature=hunter2",
  "https://cdn.example/x?a=1&access_token=hunter2",
  "https://cdn.example/x?sig=hunter2",
  "ftp://hunter2@cdn.example/x",
  "hunter2",
])("source url: refuses %s without repeating the secret", (text) => {
  const refused = (() => {
    try {
      return parseSourceUrl(text);
    } catch (cause) {
      return cause;
    }
  })();
  expect(refused).toBeInstanceOf(PrestageError);
  expect(JSON.stringify(refused, Object.getOwnPropertyNames(refused))).not.toContain("hunter2");
});

test("source url: is shown without user, query and fragment", () => {
  expect(shownUrl(new URL("git+ssh://git@h.example/r.git?ref=a#b"))).toBe(
    "git+ssh://h.example/r.git",
  );
});

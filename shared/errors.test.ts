import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ERRORS } from "./errors.ts";

test("errors: the reference page and the table say the same, both ways", () => {
  const page = readFileSync(new URL("../docs/errors.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (\d+) \| (.+) \|$/gm)].map(
    ([, code, exit, http, remedy]) => [code, { exit: Number(exit), http: Number(http), remedy }],
  );
  expect(Object.fromEntries(rows)).toEqual(ERRORS);
});

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLog } from "../shared/runtime/log.ts";
import { LastKnown } from "./persisted.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "prestage-last-known-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test("last known: all of a desired version is there after a restart (lease, throttle, model)", () => {
  const before = new LastKnown(dir, silentLog);
  const lease = {
    id: "l1",
    stagingBytesPerSecond: 1000,
    expiresMs: 500,
    floorBytesPerSecond: 10,
    classes: {},
  };
  const model = {
    ref: { name: "prestage-affinity", version: "1" },
    manifestHash: "a".repeat(64),
  };
  const desired = { ...before.value.desired, version: 7, lease, throttled: true, model };
  before.update({ desired });
  before.save();
  expect(new LastKnown(dir, silentLog).value.desired).toEqual(desired);
});

test("last known: a file of an earlier version is read (no lease in it)", () => {
  const before = new LastKnown(dir, silentLog);
  before.update({ routes: { version: 3, entries: [] } });
  before.save();
  const file = join(dir, "last-known.json");
  const value = JSON.parse(readFileSync(file, "utf8"));
  for (const key of ["lease", "throttled", "model"]) delete value.desired[key];
  writeFileSync(file, JSON.stringify(value));
  expect(new LastKnown(dir, silentLog).value).toMatchObject({
    routes: { version: 3 },
    desired: { lease: null, throttled: false, model: null },
  });
});

test("last known: a disk that takes nothing ends nothing, and it is written when it does", () => {
  const before = new LastKnown(join(dir, "data"), silentLog);
  rmSync(join(dir, "data"), { recursive: true });
  before.update({ routes: { version: 3, entries: [] } });
  before.save();
  mkdirSync(join(dir, "data"));
  before.save();
  expect(new LastKnown(join(dir, "data"), silentLog).value.routes.version).toBe(3);
});

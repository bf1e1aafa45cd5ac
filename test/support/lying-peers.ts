/**
 * Enrolled peers that really hold a version and lie about its chunks, over the real mesh:
 * node lying-peers.ts HOW NAME…   Lines of JSON: out, its members, then "ready" when it holds all
 * and lies from then on; in, `{members, publishers, signed}` once.
 * HOW: `bytes` (wrong content), `length` (cut short), `refuse` (says it has, gives nothing).
 */
import { createInterface } from "node:readline";
import { holdOf, TestFleet, until } from "../../agent/mesh/mesh.fixture.ts";
import { HotChunks } from "../../agent/mesh/store/hot-chunks.ts";
import { Store } from "../../agent/mesh/store/store.ts";
import type { Member, SignedManifest } from "../../shared/domain.ts";

const [how = "bytes", ...names] = process.argv.slice(2);
const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);

const fleet = new TestFleet();
const hosts = await Promise.all(names.map((name) => fleet.start(name)));
say(hosts.map((h) => h.member));
const [line = "{}"] = await createInterface({ input: process.stdin })
  [Symbol.asyncIterator]()
  .next()
  .then(({ value }) => [value]);
const { members, signed } = JSON.parse(line) as { members: Member[]; signed: SignedManifest };
fleet.manifests.set(signed.hash, signed);
for (const { mesh } of hosts) {
  mesh.setMembers(members);
  mesh.setRate(1e12);
  mesh.setHold([holdOf(signed)]);
}
await until(() => hosts.every((h) => h.mesh.orderStates()[0]?.state === "done"));

HotChunks.prototype.get = () => null;
const honest = Store.prototype.readChunk;
Store.prototype.readChunk = async function readChunk(hash: string) {
  const right = await honest.call(this, hash);
  if (!right || how === "refuse") return null;
  if (how === "length") return right.subarray(0, right.length - 1);
  const wrong = Buffer.from(right);
  wrong[wrong.length >> 1] = (wrong[wrong.length >> 1] ?? 0) ^ 1;
  return wrong;
};
say("ready");

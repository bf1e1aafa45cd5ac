/**
 * A process that writes to a store and says on stdout what is durable, until it is killed: the
 * other half of the kill -9 test. Argument: folder, boot id.
 */
import { writeSync } from "node:fs";
import { Store } from "../../coordinator/store/store.ts";

const [dir = "", bootId = ""] = process.argv.slice(2);
const store = Store.open(dir);
const hit = {
  kind: "hit",
  workload: "w",
  category: "c",
  host: "h",
  atMs: 1,
  firstByteMs: 1,
  waitedMs: 0,
  status: 200,
  orderId: null,
  bytes: 0,
  memoryByteMs: 0,
} as const;

/** Many writers in one turn, so that the kill falls into grouped transactions. */
async function write(lane: number): Promise<never> {
  for (let seq = 1; ; seq++) {
    const boot = `${bootId}-${lane}`;
    const bin = { workload: "w", category: "c", host: `h${lane}`, startMs: 60_000, count: 1 };
    await store.demand.append(`h${lane}`, boot, seq, [bin], [hit]);
    writeSync(1, `demand ${lane} ${boot} ${seq}\n`);
    const key = `${bootId}-${lane}-${seq}`;
    await store.models.setState(key, { seq });
    writeSync(1, `state ${key} ${seq}\n`);
  }
}

writeSync(1, "ready\n");
await Promise.all([0, 1, 2, 3].map(write));

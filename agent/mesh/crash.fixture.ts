/** A host in a process of its own, to be killed: argv[2] is its configuration as JSON. */
import { flushCompileCache } from "node:module";
import { systemClock } from "../../shared/runtime/clock.ts";
import { holdOf, TestFleet } from "./mesh.fixture.ts";

const { dir, seed, seeder, self, signed, rate, talkative } = JSON.parse(process.argv[2] ?? "{}");
const fleet = new TestFleet();
fleet.manifests.set(signed.hash, signed);
const { mesh } = await fleet.start(self.host, { dir, seed: Buffer.from(seed, "hex") });
mesh.setMembers([seeder, self]);
const say = (what: string) => {
  const held = mesh.holdings()[0];
  const { peerBytes, refetchedChunks } = mesh.counters();
  const { user, system } = process.cpuUsage();
  const cpuMs = (user + system) / 1_000;
  const line = { what, bytesHave: held?.bytesHave ?? 0, peerBytes, refetchedChunks, cpuMs };
  process.stdout.write(`${JSON.stringify(line)}\n`);
};
say("started");
flushCompileCache();
mesh.setRate(rate);
mesh.setHold([holdOf(signed)]);
while (mesh.counters().peerBytes === 0) await systemClock.sleep(5);
say("moving");
for (;;) {
  await systemClock.sleep(10);
  if (talkative) say("at");
  if (mesh.orderStates()[0]?.state === "done") say("done");
}

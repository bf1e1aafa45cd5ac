/** Honest hosts in this process, lying ones in another, and how long the honest ones take. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import {
  holdOf,
  TestFleet,
  type TestHost,
  until,
  writeTree,
} from "../../agent/mesh/mesh.fixture.ts";
import type { Member, SignedManifest } from "../../shared/domain.ts";

const PROGRAM = new URL("lying-peers.ts", import.meta.url).pathname;

export type LyingFleet = {
  seeder: TestHost;
  honest: TestHost[];
  liars: string[];
  signed: SignedManifest;
  /** Milliseconds until every honest host has it whole. */
  fetchAll(): Promise<number>;
  close(): Promise<void>;
};

/** A seeder and liars that hold a version of `bytes`, and `honest` hosts that want it. */
export async function lyingFleet(o: {
  honest: number;
  liars: number;
  how: string;
  bytes: number;
  /** Each honest host's link, bytes per second. */
  rate: number;
}): Promise<LyingFleet> {
  const fleet = new TestFleet();
  const seeder = await fleet.start("seeder");
  const honest: TestHost[] = [];
  for (let i = 0; i < o.honest; i++) honest.push(await fleet.start(`h${i}`));
  const names = Array.from({ length: o.liars }, (_, i) => `liar${i}`);
  const child = o.liars > 0 ? startLiars(o.how, names) : null;
  const enrolled = [
    ...[seeder, ...honest].map((h) => h.member),
    ...((await child?.members()) ?? []),
  ];
  seeder.mesh.setMembers(enrolled);
  const dir = await fleet.folder();
  await writeTree(dir, { "a/big.bin": randomBytes(o.bytes) });
  const signed = await fleet.publish(seeder, dir);
  await child?.lie({ members: enrolled, signed });
  return {
    seeder,
    honest,
    liars: names,
    signed,
    fetchAll: async () => {
      for (const { mesh } of honest) mesh.setMembers(enrolled);
      await until(() =>
        honest.every((h) => h.mesh.connectedHosts().length === enrolled.length - 1),
      );
      const startMs = performance.now();
      for (const { mesh } of honest) {
        mesh.setRate(o.rate);
        mesh.setHold([holdOf(signed)]);
      }
      await until(() => honest.every((h) => h.mesh.orderStates()[0]?.state === "done"), 240_000);
      return performance.now() - startMs;
    },
    close: async () => {
      child?.stop();
      await fleet.close();
    },
  };
}

function startLiars(how: string, names: string[]) {
  const child: ChildProcess = spawn(process.execPath, [PROGRAM, how, ...names], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  if (!child.stdout || !child.stdin) throw new Error("no pipes");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => JSON.parse((await lines.next()).value ?? "null");
  return {
    members: async () => (await next()) as Member[],
    lie: async (what: { members: Member[]; signed: SignedManifest }) => {
      child.stdin?.write(`${JSON.stringify(what)}\n`);
      if ((await next()) !== "ready") throw new Error("the liars ended early");
    },
    stop: () => void child.kill(),
  };
}

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { Store } from "./store.ts";

const WRITER = join(import.meta.dirname, "../../test/support/store-writer.ts");
const ROUNDS = 8;

/** What the writer had acknowledged on its pipe when it was killed after `acknowledgements`. */
async function killedAfter(dir: string, bootId: string, acknowledgements: number) {
  const child = spawn(process.execPath, [WRITER, dir, bootId], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = new Promise<NodeJS.Signals | null>((resolve) =>
    child.once("exit", (_, signal) => resolve(signal)),
  );
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (lines.length === acknowledgements) child.kill("SIGKILL");
  }
  expect(await exited).toBe("SIGKILL");
  return lines.slice(1);
}

test("store: nothing acknowledged is lost, nothing counted twice (kill -9, 8 times)", async () => {
  const dir = mkdtempSync(join(tmpdir(), "prestage-kill-"));
  const random = seededRandom("kill");
  const acknowledged = { demand: 0, state: 0 };
  const tallies = new Map<string, { acknowledged: number; stored: number }>();
  for (let round = 0; round < ROUNDS; round++) {
    const lines = await killedAfter(dir, `b${round}`, 2 + random.int(400));
    const store = Store.open(dir);
    const lastSeqs = new Map<string, number>();
    for (const line of lines) {
      const [kind, a = "", b = "", c = ""] = line.split(" ");
      if (kind === "state") {
        acknowledged.state++;
        expect(store.models.state(a)).toEqual({ seq: Number(b) });
      } else {
        acknowledged.demand++;
        lastSeqs.set(`${a} ${b}`, Number(c));
      }
    }
    for (let lane = 0; lane < 4; lane++) {
      const stored = store.demand.lastSeq(`h${lane}`, `b${round}-${lane}`);
      const seen = lastSeqs.get(`${lane} b${round}-${lane}`) ?? 0;
      // One more may be durable than was heard of: killed between the two.
      expect(stored).toBeGreaterThanOrEqual(seen);
      expect(stored).toBeLessThanOrEqual(seen + 1);
      const tally = tallies.get(`h${lane}`) ?? { acknowledged: 0, stored: 0 };
      tallies.set(`h${lane}`, { acknowledged: 0, stored: tally.stored + stored });
    }
    const bins = [...store.demand.bins({ fromMs: 0, toMs: 1e15 })];
    for (const { host, count } of bins) expect(count).toBe(tallies.get(host)?.stored);
    const total = [...tallies.values()].reduce((sum, { stored }) => sum + stored, 0);
    expect(store.ledger.outcomeCounts(0).hit).toBe(total);
    store.close();
  }
  expect(acknowledged.demand + acknowledged.state).toBeGreaterThan(ROUNDS * 20);
  rmSync(dir, { recursive: true, force: true });
});

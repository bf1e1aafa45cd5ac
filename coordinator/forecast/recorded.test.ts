/** The arrival model on recorded functions, against what reactive platforms do. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { readTrace } from "../demand/import.ts";
import { HazardModel } from "./hazard.ts";
import { Track } from "./track.ts";

const FILE = fileURLToPath(
  new URL("../../../shared/traces/functions-azure-2019/invocations.csv", import.meta.url),
);
const START = Math.floor(Date.UTC(2019, 6, 15, 8) / 60_000);
const MINUTES = 480;
const KEEP_ALIVE = 10;
const PRICES = Array.from({ length: 60 }, (_, i) => 0.5 * 0.85 ** i);

type Foretold = { active: boolean[]; hazards: number[] };
type Cost = { cold: number; memory: number };

/** Neither constant nor silent in the last hour. */
async function recorded(): Promise<boolean[][]> {
  const functions = new Map<string, boolean[]>();
  for await (const { workload, timestampMs } of readTrace(FILE)) {
    const active = functions.get(workload) ?? new Array<boolean>(MINUTES).fill(false);
    active[Math.floor(timestampMs / 60_000) - START] = true;
    functions.set(workload, active);
  }
  return [...functions.values()].filter(
    (active) => active.filter(Boolean).length < 0.9 * MINUTES && active.slice(-60).includes(true),
  );
}

/** One model, minute by minute; each hazard is told before its minute is learned. */
function foretell(activities: readonly boolean[][]): Foretold[] {
  const model = new HazardModel();
  const tracks: (Track | undefined)[] = [];
  const functions = activities.map((active) => ({ active, hazards: [] as number[] }));
  for (let minute = 0; minute < MINUTES; minute++) {
    for (const [i, { active, hazards }] of functions.entries()) {
      const track = tracks[i];
      const now = active[minute] === true;
      hazards.push(track ? model.hazard(track, START + minute) : model.newcomerHazard());
      if (track) model.learn(track, now);
      else if (now) tracks[i] = new Track(START + minute);
    }
  }
  return functions;
}

function cost(
  functions: readonly Foretold[],
  from: number,
  to: number,
  loaded: (f: Foretold, minute: number) => boolean,
): Cost {
  const sum = { cold: 0, memory: 0 };
  for (const one of functions) {
    for (let minute = from; minute < to; minute++) {
      const ready = loaded(one, minute);
      if (one.active[minute] && !ready) sum.cold++;
      if (one.active[minute] || ready) sum.memory++;
    }
  }
  return sum;
}
const fixed = ({ active }: Foretold, minute: number) =>
  active.slice(Math.max(0, minute - KEEP_ALIVE), minute).includes(true);
const hazardOver =
  (price: number) =>
  ({ hazards }: Foretold, minute: number) =>
    (hazards[minute] ?? 0) > price;

/** The price that on the hour before took 0.9 of the memory: known when the last hour begins. */
function calibrated(functions: readonly Foretold[]): number {
  const wanted = 0.9 * cost(functions, 360, 420, fixed).memory;
  const affordable = PRICES.filter(
    (price) => cost(functions, 360, 420, hazardOver(price)).memory <= wanted,
  );
  return affordable.at(-1) ?? 1;
}

test.skipIf(!existsSync(FILE))(
  "recorded: half the cold minutes of a 10-minute keep-alive for less memory (last hour; needs ../shared/traces)",
  async () => {
    const all = await recorded();
    const random = seededRandom("recorded");
    const samples = Array.from({ length: 4 }, () => {
      const left = [...all];
      return Array.from({ length: 30 }, () => left.splice(random.int(left.length), 1)).flat();
    });
    for (const sample of [all, ...samples]) {
      const functions = foretell(sample);
      const reactive = cost(functions, 420, 480, fixed);
      const ahead = cost(functions, 420, 480, hazardOver(calibrated(functions)));
      expect(ahead.cold / reactive.cold).toBeLessThan(0.5);
      expect(ahead.memory / reactive.memory).toBeLessThan(1);
    }
  },
);

test.skipIf(!existsSync(FILE))(
  "recorded: from nothing to learn from, still half the cold minutes (all eight hours; needs ../shared/traces)",
  async () => {
    const functions = foretell(await recorded());
    const reactive = cost(functions, 0, MINUTES, fixed);
    const ahead = cost(functions, 0, MINUTES, hazardOver(0.01));
    expect(ahead.cold / reactive.cold).toBeLessThan(0.5);
    expect(ahead.memory / reactive.memory).toBeLessThan(1);
  },
);

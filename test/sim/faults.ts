/** What goes wrong in a run, drawn from its seed; all of it is healed before the last minutes. */
import type { Weather } from "../support/network.ts";
import { CALM } from "../support/network.ts";
import { COORDINATOR, type Run } from "./run.ts";

export type Injected = {
  hostCrashes: number;
  coordinatorCrashes: number;
  partitions: number;
  peaks: number;
  pauses: number;
  stages: number;
};

export class Faults {
  readonly #run: Run;
  readonly #untilMs: number;
  #healed = false;
  readonly injected: Injected = {
    hostCrashes: 0,
    coordinatorCrashes: 0,
    partitions: 0,
    peaks: 0,
    pauses: 0,
    stages: 0,
  };

  constructor(run: Run, untilMs: number) {
    this.#run = run;
    this.#untilMs = untilMs;
  }

  start(): void {
    const hosts = this.#run.world.hosts.length;
    this.#weather();
    this.#repeat(2_000_000 / hosts, () => this.#crashHost());
    this.#repeat(200_000, () => this.#crashCoordinator());
    this.#repeat(250_000, () => this.#partition());
    this.#repeat(1_000_000 / hosts, () => this.#peak());
    this.#repeat(500_000, () => this.#pause());
    this.#repeat(120_000, () => this.#stage());
    this.#run.queue.in(this.#untilMs, () => this.#heal());
  }

  #repeat(meanMs: number, fault: () => void): void {
    const { queue, random } = this.#run;
    queue.in(random.exponential(meanMs), () => {
      if (this.#healed) return;
      fault();
      this.#repeat(meanMs, fault);
    });
  }

  #crashHost(): void {
    const { queue, random, world } = this.#run;
    const agent = this.#run.agent(random.pick(world.hosts).id);
    if (!agent?.up) return;
    this.injected.hostCrashes++;
    agent.crash();
    this.#run.hostGone(agent.spec.id);
    queue.in(2000 + random.exponential(20_000), () => {
      if (!agent.up) agent.start();
    });
  }

  #crashCoordinator(): void {
    const { coordinator, queue, random } = this.#run;
    if (!coordinator.up) return;
    this.injected.coordinatorCrashes++;
    coordinator.crash();
    const quick = random.next() < 0.5;
    queue.in(500 + random.exponential(quick ? 2000 : 30_000), () => {
      if (!coordinator.up) coordinator.start();
    });
  }

  #partition(): void {
    const { network, queue, random, world } = this.#run;
    const sides = new Map<string, number>();
    const bySite = random.next() < 0.5;
    const cutSite = random.pick(world.hosts).site;
    for (const { id, site } of world.hosts)
      sides.set(id, (bySite ? site === cutSite : random.next() < 0.3) ? 1 : 0);
    sides.set(COORDINATOR, random.next() < 0.3 ? 1 : 0);
    this.injected.partitions++;
    this.#run.note(`partition of ${[...sides.values()].filter(Boolean).length} nodes`);
    network.partition(sides);
    this.#run.partitioned = true;
    queue.in(10_000 + random.exponential(40_000), () => this.#unite());
  }

  #unite(): void {
    this.#run.network.heal();
    this.#run.partitioned = false;
    this.#run.note("partition healed");
  }

  #peak(): void {
    const { queue, random, world } = this.#run;
    const agent = this.#run.agent(random.pick(world.hosts).id);
    if (!agent) return;
    this.injected.peaks++;
    agent.load(0.88 + 0.12 * random.next());
    this.#run.note(`${agent.spec.id} is at peak`);
    queue.in(5000 + random.exponential(20_000), () => {
      agent.load(0.1 + 0.5 * random.next());
    });
  }

  #pause(): void {
    const { coordinator, queue, random } = this.#run;
    if (coordinator.paused) return;
    this.injected.pauses++;
    coordinator.pause(true);
    queue.in(5000 + random.exponential(15_000), () => coordinator.pause(false));
  }

  #stage(): void {
    const { coordinator, random, world } = this.#run;
    if (!coordinator.up) return;
    const artifact = random.pick([...world.artifacts.values()]);
    const share = random.next() < 0.5 ? 1 : 0.3;
    const hosts = world.hosts.filter(() => random.next() < share).map(({ id }) => id);
    coordinator.stage(`stage-${++this.injected.stages}`, artifact, hosts);
  }

  #weather(): void {
    const { network, queue, random } = this.#run;
    if (this.#healed) return;
    const bad = random.next() < 0.6;
    const weather: Weather = bad
      ? {
          drop: 0.1 * random.next() ** 2,
          duplicate: 0.05 * random.next(),
          delayMs: 1 + 20 * random.next(),
          jitterMs: 1 + 60 * random.next() ** 2,
          breaks: 0.01 * random.next() ** 2,
        }
      : CALM;
    network.weather = weather;
    this.#run.note(`weather: ${(100 * weather.drop).toFixed(1)} % dropped`);
    queue.in(20_000 + random.exponential(60_000), () => this.#weather());
  }

  #heal(): void {
    this.#healed = true;
    const { coordinator, network, queue, world } = this.#run;
    this.#unite();
    network.weather = CALM;
    queue.in(1000, () => {
      if (!coordinator.up) coordinator.start();
      coordinator.pause(false);
      for (const { id } of world.hosts) {
        const agent = this.#run.agent(id);
        if (!agent) continue;
        agent.load(0.2);
        if (!agent.up) agent.start();
      }
    });
  }
}

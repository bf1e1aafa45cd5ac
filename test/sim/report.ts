/** What the runs did together, for people. */
import type { RunOptions, RunResult } from "./run.ts";

export class Summary {
  readonly #options: RunOptions;
  readonly #startMs = performance.now();
  readonly #checks = new Map<string, number>();
  readonly #faults = new Map<string, number>();
  readonly #outcomes = new Map<string, number>();
  #runs = 0;
  #steps = 0;
  readonly #failures: RunResult[] = [];

  constructor(options: RunOptions) {
    this.#options = options;
  }

  get failed(): boolean {
    return this.#failures.length > 0;
  }

  add(result: RunResult): void {
    this.#runs++;
    this.#steps += result.steps;
    addAll(this.#checks, result.checks);
    addAll(this.#faults, Object.entries(result.injected));
    addAll(this.#faults, Object.entries(result.network));
    addAll(this.#outcomes, Object.entries(result.outcomes));
    if (result.violation) this.#failures.push(result);
  }

  text(): string {
    const seconds = (performance.now() - this.#startMs) / 1000;
    const { hosts, seconds: simulated } = this.#options;
    const total = [...this.#checks.values()].reduce((sum, n) => sum + n, 0);
    const lines = [
      `${this.#runs} seeds of ${hosts} hosts × ${simulated} s in ${seconds.toFixed(1)} s: ` +
        `${count(this.#steps)} steps (${count(this.#steps / seconds)}/s), ` +
        `${count((this.#runs * simulated) / seconds)} simulated seconds/s`,
      `faults: ${list(this.#faults)}`,
      `outcomes: ${list(this.#outcomes)}`,
      `${count(total)} checks: ${list(this.#checks)}`,
    ];
    const [first, ...others] = this.#failures;
    if (first) lines.push(failureText(first, this.#options));
    else lines.push("every invariant held");
    for (const { seed, violation } of others) lines.push(`seed ${seed}: ${violation?.message}`);
    return lines.join("\n");
  }
}

export function failureText({ seed, violation }: RunResult, options: RunOptions): string {
  const flag = options.broken === null ? "" : ` --break ${options.broken}`;
  return [
    `seed ${seed}: BROKEN: ${violation?.message}`,
    `the last ${violation?.lines.length} events before it:`,
    ...(violation?.lines ?? []).map((line) => `  ${line}`),
    `replay: npm run sim -- --seeds 1 --seed ${seed} --hosts ${options.hosts} ` +
      `--seconds ${options.seconds}${flag}`,
  ].join("\n");
}

function addAll(into: Map<string, number>, rows: Iterable<[string, number]>): void {
  for (const [name, n] of rows) into.set(name, (into.get(name) ?? 0) + n);
}

function count(n: number): string {
  return Math.round(n).toLocaleString("en");
}

function list(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, n]) => `${name} ${count(n)}`).join(", ");
}

/** Many agents' links in one process, for the fleet bench: real sessions, no rooms behind them. */
import { Link } from "../../agent/link/link.ts";
import { WsTransport } from "../../agent/link/ws-transport.ts";
import { type Clock, systemClock } from "../../shared/runtime/clock.ts";
import { createLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { type Random, systemRandom } from "../../shared/runtime/random.ts";
import { TaskGroup } from "../../shared/runtime/tasks.ts";
import { helloFacts, reportFacts } from "../support/messages.ts";

/** Handshakes under way at once, per process. */
const CONNECTING_MAX = 64;

export type FleetOrder =
  | {
      type: "start";
      port: number;
      ca: string;
      agents: { host: string; cert: string; key: string }[];
      periodMs: number;
      reportSize: number;
    }
  | { type: "connect" }
  | { type: "report" };

type Start = Extract<FleetOrder, { type: "start" }>;

class Fleet {
  readonly #start: Start;
  readonly #links: Link[];
  readonly #clock: Clock = systemClock;
  readonly #random: Random = systemRandom();
  readonly #group = new TaskGroup();

  constructor(start: Start) {
    this.#start = start;
    this.#links = start.agents.map(
      ({ host, cert, key }) =>
        new Link({
          transport: new WsTransport({
            url: `https://127.0.0.1:${start.port}`,
            tls: () => ({ ca: start.ca, cert, key, serverName: "localhost" }),
          }),
          clock: this.#clock,
          random: this.#random,
          log: createLog({ name: host, level: "error" }),
          metrics: new Metrics(),
          hello: () => helloFacts(host),
        }),
    );
  }

  connect(): void {
    this.#group.start("connect", async (signal) => {
      let opened = 0;
      for (const [index, link] of this.#links.entries()) {
        this.#group.start("link", (inner) => link.run(inner));
        while (index - opened >= CONNECTING_MAX) {
          await this.#clock.sleep(2, { signal });
          while (opened < index && this.#links[opened]?.connected) opened++;
        }
      }
    });
  }

  report(): void {
    const { periodMs, reportSize } = this.#start;
    for (const link of this.#links)
      this.#group.start("reports", async (signal) => {
        await this.#clock.sleep(this.#random.next() * periodMs, { signal });
        for (;;) {
          link.report(reportFacts(reportSize, this.#clock.now()));
          await this.#clock.sleep(periodMs, { signal });
        }
      });
  }
}

let fleet: Fleet | undefined;
process.on("message", (order: FleetOrder) => {
  if (order.type === "start") fleet = new Fleet(order);
  else if (order.type === "connect") fleet?.connect();
  else fleet?.report();
});
process.on("disconnect", () => process.exit());

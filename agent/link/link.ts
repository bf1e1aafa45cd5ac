/** The agent's session with the coordinator, kept up for as long as it runs. */
import type { DemandBin, Outcome, RouteTable } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import type {
  DesiredState,
  Hello,
  MemberList,
  ReplyBody,
  Report,
  RequestBody,
  RequestKind,
} from "../../shared/protocol/bodies.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Metrics } from "../../shared/runtime/metrics.ts";
import type { Random } from "../../shared/runtime/random.ts";
import type { Transport } from "./transport.ts";

/** The link itself knows the protocol and what was taken over. */
type Stamped = "protocol" | "desiredVersion" | "routesVersion" | "membersEpoch";
export type HelloFacts = Omit<Hello, Stamped>;
export type ReportFacts = Omit<Report, Stamped>;

export type LinkOptions = {
  /** Versions already in force at the start, e.g. from disk; default none. */
  have?: { desired: number; routes: number; members: number };
};

export class Link {
  constructor(
    _deps: {
      transport: Transport;
      clock: Clock;
      random: Random;
      log: Log;
      metrics: Metrics;
      hello: () => HelloFacts;
    },
    _options: LinkOptions = {},
  ) {}

  get connected(): boolean {
    return false;
  }

  async run(_signal: AbortSignal): Promise<void> {}

  report(_report: ReportFacts): void {}

  record(_demand: DemandBin[], _outcomes: Outcome[]): void {}

  async request<K extends RequestKind>(
    _body: Extract<RequestBody, { kind: K }>,
    _options: { signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<Extract<ReplyBody, { kind: K }>> {
    throw new PrestageError("UNREACHABLE", "not connected");
  }

  onDesired(_handler: (desired: DesiredState) => void | Promise<void>): void {}
  onRoutes(_handler: (table: RouteTable) => void | Promise<void>): void {}
  onMembers(_handler: (list: MemberList) => void | Promise<void>): void {}
}

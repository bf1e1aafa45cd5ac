/** The sessions of all agents. */
import type { Server } from "node:https";
import type { TLSSocket } from "node:tls";
import type { DemandBin, HostId, Member, Outcome, RouteTable } from "../../shared/domain.ts";
import type { ErrorCode } from "../../shared/errors.ts";
import type {
  DesiredState,
  Hello,
  ReplyBody,
  Report,
  RequestBody,
} from "../../shared/protocol/bodies.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Metrics } from "../../shared/runtime/metrics.ts";
import type { Random } from "../../shared/runtime/random.ts";

export type Identify = (socket: TLSSocket) => { host: HostId } | { refused: ErrorCode };

export type SessionHandlers = {
  connected(host: HostId, hello: Hello): void;
  disconnected(host: HostId): void;
  report(host: HostId, report: Report): void;
  /** Resolves when it is durable: the acknowledgement goes out then. Rejected: it comes again. */
  records(
    host: HostId,
    bootId: string,
    seq: number,
    demand: DemandBin[],
    outcomes: Outcome[],
  ): Promise<void>;
  /** Rejects with a PrestageError, whose code the agent's caller gets. */
  request(host: HostId, body: RequestBody): Promise<ReplyBody>;
  /** Highest stored records number of the boot; 0 = none. */
  lastSeq(host: HostId, bootId: string): number;
};

export class Sessions {
  constructor(_deps: {
    clock: Clock;
    random: Random;
    log: Log;
    metrics: Metrics;
    identify: Identify;
    handlers: SessionHandlers;
  }) {}

  attach(_server: Server): void {}
  async run(_signal: AbortSignal): Promise<void> {}
  setDesired(_host: HostId, _desired: DesiredState): void {}
  setRoutes(_table: RouteTable): void {}
  setMembers(_epoch: number, _members: Member[]): void {}
  disconnect(_host: HostId, _code: ErrorCode): void {}
  hosts(): HostId[] {
    return [];
  }
}

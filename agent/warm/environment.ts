/**
 * The life of one environment as a pure step function: absent → staging → cold → warming → warm →
 * serving → draining → absent, once per process. A replacement after a failure is a new
 * environment, so a late word about an old process can never touch its successor. The pool carries
 * out the effects; nothing else changes a state.
 */
import type { EnvironmentState, Verdict } from "../../shared/domain.ts";

export type Environment = {
  readonly id: string;
  readonly state: EnvironmentState;
  /** When it entered `state`, demand clock. */
  readonly sinceMs: number;
  /** Requests it is answering now; above 0 only in serving and draining. */
  readonly inFlight: number;
  /** Of the latest shadow request; null before the first, and while a suspect is checked again. */
  readonly verdict: Verdict | null;
  /** Latest begin or end of a request; null before the first. */
  readonly lastUsedMs: number | null;
  /** Draining only: the process was told to stop. */
  readonly stopping: boolean;
};

export type EnvironmentEvent =
  | { type: "stage" }
  | { type: "staged" }
  | { type: "stage-failed" }
  | { type: "start" }
  | { type: "verdict"; verdict: Verdict }
  /** A request failed on it: no more traffic until a shadow request passed again. */
  | { type: "suspect" }
  | { type: "begin" }
  | { type: "end" }
  | { type: "drop" }
  /** Draining took too long: requests in flight are cut. */
  | { type: "deadline" }
  | { type: "exited" };
export type EnvironmentEventType = EnvironmentEvent["type"];

export type EnvironmentEffect =
  | "stage" // bring its artifacts here
  | "cancel-stage" // nobody wants them for it any more
  | "queue" // ask for memory
  | "launch" // start the process, warm it up, send the shadow request
  | "recheck" // send the shadow request again
  | "serve" // requests that waited may begin
  | "stop" // end the process
  | "failed" // count the failure, perhaps make another
  | "gone"; // it holds nothing any more

export type EnvironmentStep =
  | { ok: true; next: Environment; effects: EnvironmentEffect[] }
  | { ok: false; refused: string };

export function newEnvironment(id: string, nowMs: number): Environment {
  return {
    id,
    state: "absent",
    sinceMs: nowMs,
    inFlight: 0,
    verdict: null,
    lastUsedMs: null,
    stopping: false,
  };
}

/** Whether requests may begin on it. */
export function routable(environment: Environment): boolean {
  const { state, verdict } = environment;
  return (state === "warm" || state === "serving") && verdict?.passed === true;
}

/** Whether it has, or may have, a process: from warming until that is gone. */
export function holdsMemory(state: EnvironmentState): boolean {
  return state === "warming" || state === "warm" || state === "serving" || state === "draining";
}

/** Whether it is on its way to its first verdict. */
export function underWay(state: EnvironmentState): boolean {
  return state === "staging" || state === "cold" || state === "warming";
}

export function stepEnvironment(
  environment: Environment,
  event: EnvironmentEvent,
  nowMs: number,
): EnvironmentStep {
  const to = (
    state: EnvironmentState,
    effects: EnvironmentEffect[],
    changes: Partial<Environment> = {},
  ): EnvironmentStep => {
    const sinceMs = state === environment.state ? environment.sinceMs : nowMs;
    return { ok: true, next: { ...environment, ...changes, state, sinceMs }, effects };
  };
  const refuse = (why: string): EnvironmentStep => ({
    ok: false,
    refused: `${event.type} while ${environment.state}: ${why}`,
  });
  switch (environment.state) {
    case "absent":
      return event.type === "stage" ? to("staging", ["stage"]) : refuse("there is nothing");
    case "staging":
      if (event.type === "staged") return to("cold", ["queue"]);
      if (event.type === "stage-failed") return to("absent", ["failed", "gone"]);
      if (event.type === "drop") return to("absent", ["cancel-stage", "gone"]);
      return refuse("artifacts are on their way");
    case "cold":
      if (event.type === "start") return to("warming", ["launch"]);
      if (event.type === "drop") return to("absent", ["gone"]);
      return refuse("no process runs");
    case "warming":
      if (event.type === "verdict") {
        const { verdict } = event;
        if (verdict.passed) return to("warm", ["serve"], { verdict });
        return to("draining", ["failed", "stop"], { verdict, stopping: true });
      }
      if (event.type === "exited") return to("absent", ["failed", "gone"]);
      if (event.type === "drop") return to("draining", ["stop"], { stopping: true });
      return refuse("no verdict yet");
    case "warm":
    case "serving":
      return stepReady(environment, event, nowMs, to, refuse);
    case "draining":
      return stepDraining(environment, event, nowMs, to, refuse);
  }
}

type To = (
  state: EnvironmentState,
  effects: EnvironmentEffect[],
  changes?: Partial<Environment>,
) => EnvironmentStep;
type Refuse = (why: string) => EnvironmentStep;

function stepReady(
  { state, inFlight, verdict }: Environment,
  event: EnvironmentEvent,
  nowMs: number,
  to: To,
  refuse: Refuse,
): EnvironmentStep {
  switch (event.type) {
    case "begin":
      if (verdict === null) return refuse("a request failed on it and it is being checked");
      return to("serving", [], { inFlight: inFlight + 1, lastUsedMs: nowMs });
    case "end":
      if (inFlight === 0) return refuse("nothing is in flight");
      return to(inFlight === 1 ? "warm" : "serving", [], {
        inFlight: inFlight - 1,
        lastUsedMs: nowMs,
      });
    case "suspect":
      if (verdict === null) return refuse("it is being checked already");
      return to(state, ["recheck"], { verdict: null });
    case "verdict":
      if (verdict !== null) return refuse("nobody asked");
      if (event.verdict.passed) return to(state, ["serve"], { verdict: event.verdict });
      return to("draining", ["failed", "stop"], { verdict: event.verdict, stopping: true });
    case "exited":
      return to("absent", ["failed", "gone"], { inFlight: 0 });
    case "drop":
      if (inFlight > 0) return to("draining", []);
      return to("draining", ["stop"], { stopping: true });
    default:
      return refuse("it is ready");
  }
}

function stepDraining(
  { inFlight, stopping }: Environment,
  event: EnvironmentEvent,
  nowMs: number,
  to: To,
  refuse: Refuse,
): EnvironmentStep {
  switch (event.type) {
    case "end": {
      if (inFlight === 0) return refuse("nothing is in flight");
      const last = inFlight === 1 && !stopping;
      return to("draining", last ? ["stop"] : [], {
        inFlight: inFlight - 1,
        lastUsedMs: nowMs,
        stopping: stopping || last,
      });
    }
    case "deadline":
      if (stopping) return refuse("it is stopping already");
      return to("draining", ["stop"], { stopping: true });
    case "exited":
      return to("absent", ["gone"], { inFlight: 0, stopping: false });
    default:
      return refuse("it is on its way out");
  }
}

/** What the HTTP API can ask of the coordinator. The conductor carries it out. */

import type {
  ApiTokenGiven,
  ApiTokenList,
  ApiTokenRequest,
  Applied,
  ArtifactList,
  AuditQuery,
  AuditView,
  DoctorView,
  Enrolled,
  EnrollRequest,
  ForecastQuery,
  ForecastView,
  HistoryRow,
  HostList,
  ImportCommit,
  Imported,
  ImportQuery,
  ImportStaged,
  JoinTokenGiven,
  JoinTokenRequest,
  LedgerList,
  LedgerQuery,
  Paused,
  PlanQuery,
  PlanView,
  Revoked,
  Role,
  Status,
  WhyView,
  WorkloadList,
} from "../../shared/api.ts";
import type { BudgetList } from "../../shared/api-budgets.ts";
import type { FollowList, FollowRemoval, FollowRequest } from "../../shared/api-follows.ts";
import type { ForecastModel, ForecastModelList, ModelAddition } from "../../shared/api-models.ts";
import type { PublisherList, PublisherTrust } from "../../shared/api-publishers.ts";
import type {
  EventList,
  EventsPosted,
  EventsQuery,
  EventsRemoval,
  EventsRemoved,
  EventsRequest,
  SignalsView,
} from "../../shared/api-signals.ts";
import type {
  Schedule,
  ScheduleRequest,
  StagedList,
  StagedQuery,
  StageList,
  StageRequest,
  StageStatus,
} from "../../shared/api-stages.ts";
import type { WorkloadsFile } from "../../shared/workload.ts";

/** Who asks: for the audit trail, and for decisions that need more than the route's role. */
export type Caller = {
  /** `user:NAME` of the API token. */
  name: string;
  role: Role;
  address: string;
};

export type Operations = {
  status(): Promise<Status> | Status;
  hosts(): Promise<HostList> | HostList;
  plan(query: PlanQuery): Promise<PlanView> | PlanView;
  forecast(query: ForecastQuery): Promise<ForecastView> | ForecastView;
  why(target: string): Promise<WhyView> | WhyView;
  ledger(query: LedgerQuery): Promise<LedgerList> | LedgerList;
  doctor(): Promise<DoctorView> | DoctorView;
  workloads(): Promise<WorkloadList> | WorkloadList;
  budgets(): BudgetList;
  artifacts(): Promise<ArtifactList> | ArtifactList;

  signals(): Promise<SignalsView> | SignalsView;
  events(query: EventsQuery): Promise<EventList> | EventList;
  postEvents(request: EventsRequest, by: Caller): Promise<EventsPosted>;
  removeEvents(request: EventsRemoval, by: Caller): Promise<EventsRemoved>;

  models(): ForecastModelList;
  addModel(request: ModelAddition, by: Caller): Promise<ForecastModel>;
  removeModel(name: string): Promise<ForecastModelList>;

  follows(): FollowList;
  follow(request: FollowRequest, by: Caller): Promise<FollowList>;
  unfollow(request: FollowRemoval, by: Caller): Promise<FollowList>;

  apply(file: WorkloadsFile, by: Caller): Promise<Applied>;
  removeWorkload(name: string, by: Caller): Promise<Applied>;
  stage(request: StageRequest, by: Caller): Promise<StageStatus>;
  stageStatus(id: string): Promise<StageStatus> | StageStatus;
  stages(): StageList;
  staged(query: StagedQuery): StagedList;
  schedule(request: ScheduleRequest, by: Caller): Promise<Schedule>;
  cancelStage(id: string, by: Caller): Promise<StageList>;
  pause(by: Caller): Promise<Paused>;
  resume(by: Caller): Promise<Paused>;
  /** `rows` fails with the first bad line; what came before must then not have been taken. */
  stageHistory(
    query: ImportQuery,
    rows: AsyncIterable<HistoryRow>,
    by: Caller,
  ): Promise<ImportStaged>;
  importHistory(commit: ImportCommit, by: Caller): Promise<Imported>;

  createJoinToken(request: JoinTokenRequest, by: Caller): Promise<JoinTokenGiven>;
  revokeHost(host: string, by: Caller): Promise<Revoked>;
  createApiToken(request: ApiTokenRequest, by: Caller): Promise<ApiTokenGiven>;
  apiTokens(): Promise<ApiTokenList> | ApiTokenList;
  revokeApiToken(name: string, by: Caller): Promise<ApiTokenList>;
  publishers(): PublisherList;
  trustPublisher(request: PublisherTrust, by: Caller): Promise<PublisherList>;
  distrustPublisher(name: string, by: Caller): Promise<PublisherList>;
  audit(query: AuditQuery): Promise<AuditView> | AuditView;

  /** The fleet root certificate as PEM; public. */
  ca(): string;
  enroll(request: EnrollRequest, address: string): Promise<Enrolled>;
  /** `host` and `serial` are of the certificate the caller proved to own. */
  renew(identity: { host: string; serial: string }, address: string): Promise<Enrolled>;
};

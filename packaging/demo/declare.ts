/** The demo's workloads as `workloads.yaml` would declare them. */
import { WorkloadsFile } from "../../shared/workload.ts";
import { ARTIFACT_VERSION, type DemoWorkload } from "./artifacts.ts";

export type DemoMode = "observe" | "act";

/** What a Node process holds before it has loaded anything. */
const NODE_MB = 48;
/** Environments that requests made go after this long without any: the usual keep-alive. */
export const KEEP_ALIVE_MS = 600_000;

/** Memory an environment of the workload is declared to need. */
export function memoryMbOf({ categories }: DemoWorkload): number {
  return NODE_MB + Math.ceil(Math.max(...categories.map((c) => c.data.bytes)) / 1e6);
}

export function declare(
  workloads: readonly DemoWorkload[],
  { mode, nodePath }: { mode: DemoMode; nodePath: string },
): WorkloadsFile {
  return WorkloadsFile.parse({
    workloads: workloads.map((workload) => ({
      name: workload.name,
      mode,
      match: { pathPrefix: `/${workload.name}/` },
      category: categoryRule(workload),
      artifacts: [
        { name: workload.code.name, version: ARTIFACT_VERSION, kind: "code", as: "code" },
        { name: dataName(workload), version: ARTIFACT_VERSION, kind: "data", as: "data" },
      ],
      environment: {
        command: [
          nodePath,
          "{artifact:code}/server.mjs",
          "{port}",
          "{artifact:data}",
          "{category}",
        ],
        readiness: { path: "/ready", timeoutMs: 60_000, intervalMs: 15 },
        warmup: [{ path: "/warm-up" }],
        resources: { memoryMb: memoryMbOf(workload), cpu: 0.05 },
      },
      shadow: {
        request: { path: `/${workload.name}/shadow` },
        expect: { status: 200, bodyIncludes: `"workload":"${workload.name}"` },
      },
      keepAliveMs: KEEP_ALIVE_MS,
    })),
  });
}

/** `/WORKLOAD/CATEGORY/…`, or one fixed category. */
function categoryRule({ categories }: DemoWorkload): object {
  const first = categories[0]?.name ?? "default";
  if (categories.length === 1 && first === "default") return { from: "fixed" };
  return { from: "path", segment: 1, default: first };
}

function dataName({ name, categories }: DemoWorkload): string {
  const only = categories.length === 1 ? categories[0]?.name : undefined;
  return `${name}-${only ?? "{category}"}-data`;
}

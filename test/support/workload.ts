/** Workloads for tests: the schema's defaults and what a test says. */
import { Workload } from "../../shared/workload.ts";

export function testWorkload(
  name: string,
  more: Partial<Omit<Workload, "environment">> & { environment?: Record<string, unknown> } = {},
): Workload {
  const { environment, ...rest } = more;
  return Workload.parse({
    name,
    match: { pathPrefix: `/${name}` },
    ...rest,
    environment: { command: ["true"], ...environment },
  });
}

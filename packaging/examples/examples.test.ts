import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { AgentConfig } from "../../agent/config.ts";
import { CoordinatorConfig } from "../../coordinator/config.ts";
import { EventsRequest } from "../../shared/api-signals.ts";
import { readYaml } from "../../shared/config.ts";
import { WorkloadsFile } from "../../shared/workload.ts";

const textOf = (name: string) => readFileSync(new URL(name, import.meta.url), "utf8");

describe("examples", () => {
  test("workloads.yaml is what apply takes", () => {
    const file = readYaml(textOf("workloads.yaml"), "workloads.yaml", WorkloadsFile);
    expect(file.workloads.map((w) => w.name)).toEqual(["maps", "transcribe"]);
  });

  test("coordinator.yaml is what the coordinator takes", () => {
    const config = readYaml(textOf("coordinator.yaml"), "coordinator.yaml", CoordinatorConfig);
    expect(config.fleet).toBe("shops");
  });

  test("what docs/signals.md shows is what the coordinator takes", () => {
    const text = textOf("../../docs/signals.md");
    const blocks = [...text.matchAll(/```yaml\n(.*?)```/gs)].map(([, block = ""]) => block);
    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) readYaml(block, "signals.md", CoordinatorConfig);
    const [, json = ""] = /```json\n(.*?)```/s.exec(text) ?? [];
    expect(EventsRequest.parse(JSON.parse(json)).events.length).toBe(1);
  });

  test("what docs/sources.md shows is what the agent takes", () => {
    const text = textOf("../../docs/sources.md");
    const [, block = ""] = /```yaml\n(.*?)```/s.exec(text) ?? [];
    expect(readYaml(block, "sources.md", AgentConfig).sources.length).toBeGreaterThan(1);
  });

  test("what docs/oci.md shows is what the agent takes", () => {
    const text = textOf("../../docs/oci.md");
    const [, block = ""] = /```yaml\n(.*?)```/s.exec(text) ?? [];
    expect(readYaml(block, "oci.md", AgentConfig).mirror.listen).toBe("127.0.0.1:7484");
  });

  test("agent.yaml is what the agent takes", () => {
    expect(readYaml(textOf("agent.yaml"), "agent.yaml", AgentConfig).host).toBe("shop-17");
  });
});

/** `prestage stage`: put an artifact version on hosts now, and watch it arrive. */
import type { Command } from "commander";
import type { StageStatus } from "../../shared/api.ts";
import type { Call, Shell } from "../../shared/cli/command.ts";
import { parseDuration } from "../../shared/cli/duration.ts";
import { parseHosts, parseVersion, refText } from "../../shared/cli/refs.ts";
import { bytes, percent, table } from "../../shared/cli/text.ts";
import { ERRORS, type ErrorCode, PrestageError } from "../../shared/errors.ts";
import { type Api, addApiCommand } from "./session.ts";

const POLL_MS = 250;

type Options = { hosts: string; wait?: boolean; timeout: string };

export function addStage(program: Command, shell: Shell, group: string): void {
  addApiCommand<Options>(program, shell, {
    usage: "stage <name@version>",
    group,
    summary: "explicit pre-staging (preheat) of a version on hosts",
    description:
      "Orders hosts to hold a version, whatever is forecast. The transfer runs in the background " +
      "within the staging budget; --wait stays until every host has it.",
    examples: [
      ["prestage stage llama@8b-v3 --hosts all --wait", "on every host, with a progress bar"],
      ["prestage stage tiles@2026-11 --hosts pop1,pop2", "order it and return"],
    ],
    setup: (command) => {
      command
        .requiredOption("--hosts <names>", "all, or names with commas")
        .option("--wait", "stay until every host has it or failed")
        .option(
          "--timeout <time>",
          "with --wait: give up after this long (the order stays)",
          "10m",
        );
    },
    run: async (call, api) => {
      const ref = parseVersion(call.arg(0));
      const timeoutMs = parseDuration(call.options.timeout, "--timeout");
      const first = await api.post<StageStatus>("stage", {
        ref,
        hosts: parseHosts(call.options.hosts),
      });
      const last = call.options.wait ? await waitFor(call, api, first, timeoutMs) : first;
      call.show(last, () => stageText(last));
      if (call.options.wait) throwUnfinished(last);
    },
  });
}

async function waitFor(
  call: Call<Options>,
  api: Api,
  first: StageStatus,
  timeoutMs: number,
): Promise<StageStatus> {
  const untilMs = call.clock.monotonic() + timeoutMs;
  const bar = call.progress(`staging ${refText(first.ref)}`);
  try {
    for (let status = first; ; ) {
      const { done, total, ready } = stageProgress(status);
      bar.update(
        done,
        total,
        `${bytes(done)} of ${bytes(total)}, ${ready}/${status.hosts.length} hosts`,
      );
      if (status.done || call.clock.monotonic() >= untilMs) return status;
      await call.clock.sleep(POLL_MS, { signal: call.signal });
      status = await api.get<StageStatus>(`stage/${encodeURIComponent(status.id)}`);
    }
  } finally {
    bar.end();
  }
}

export function stageProgress({ bytes: size, hosts }: StageStatus): {
  done: number;
  total: number;
  ready: number;
} {
  const doneOf = (h: StageStatus["hosts"][number]) => (h.state === "done" ? size : h.bytesDone);
  return {
    done: hosts.reduce((sum, h) => sum + Math.min(size, doneOf(h)), 0),
    total: size * hosts.length,
    ready: hosts.filter((h) => h.state === "done").length,
  };
}

export function stageText(status: StageStatus): string {
  return table(
    status.hosts,
    [
      { title: "HOST", value: (h) => h.host },
      { title: "STATE", value: (h) => h.state },
      {
        title: "HAS",
        value: (h) =>
          h.state === "done" || status.bytes === 0
            ? "100.0 %"
            : percent(h.bytesDone / status.bytes),
      },
      { title: "BYTES", value: () => bytes(status.bytes), right: true },
      { title: "CODE", value: (h) => h.code },
    ],
    "no hosts are enrolled: `prestage join-token` makes a token for the first",
  );
}

/** Throws when a waited-for order did not reach every host: the code of the first that failed. */
function throwUnfinished(status: StageStatus): void {
  const failed = status.hosts.filter((h) => h.state === "failed" || h.state === "withdrawn");
  const names = failed.map((h) => h.host).join(", ");
  const code = failed.find((h) => h.code !== null)?.code;
  if (failed.length > 0)
    throw new PrestageError(
      code && code in ERRORS ? (code as ErrorCode) : "UNAVAILABLE",
      `${refText(status.ref)} did not reach ${names}`,
    );
  if (!status.done)
    throw new PrestageError("TIMEOUT", `${refText(status.ref)} is still on its way`);
}

/** A command that speaks to the coordinator: the frame of every command plus a client. */
import type { Command } from "commander";
import { addCommand, type Call, type Shell } from "../../shared/cli/command.ts";
import type { ApiClient, Query } from "./client.ts";

type Spec<Options extends object> = Parameters<typeof addCommand<Options>>[2];
/** What a command may ask of the coordinator; paths are under /api/v1. */
export type Api = {
  get<T>(path: string, query?: Query): Promise<T>;
  post<T>(path: string, body: unknown): Promise<T>;
  postLines<T>(path: string, query: Query, lines: AsyncIterable<string>): Promise<T>;
};

export function addApiCommand<Options extends object = object>(
  parent: Command,
  shell: Shell,
  spec: Omit<Spec<Options>, "run"> & { run: (call: Call<Options>, api: Api) => Promise<void> },
): Command {
  return addCommand<Options & { context?: string }>(parent, shell, {
    ...spec,
    setup: (command) => {
      spec.setup?.(command);
      command.option(
        "--context <file>",
        "who to speak to and as whom (default: $PRESTAGE_CONTEXT, else ~/.prestage/coordinator/cli.json)",
      );
    },
    run: async (call) => {
      let client: ApiClient | undefined;
      // Opened at first use: what can be refused without a coordinator is refused before, and what
      // needs none loads nothing of this.
      const open = async () => {
        if (client) return client;
        const { contextPath, readAccess } = await import("./context.ts");
        const access = await readAccess(contextPath(call.options.context, call.terminal));
        const { ApiClient } = await import("./client.ts");
        client ??= new ApiClient(access);
        return client;
      };
      try {
        await spec.run(call, boundApi(open, call.signal));
      } finally {
        await client?.close();
      }
    },
  });
}

export function boundApi(open: () => Promise<ApiClient>, signal: AbortSignal): Api {
  const under = (path: string) => `/api/v1/${path}`;
  return {
    get: async (path, query = {}) => (await open()).get(under(path), query, { signal }),
    post: async (path, body) => (await open()).post(under(path), body, { signal }),
    postLines: async (path, query, lines) =>
      (await open()).postLines(under(path), query, lines, { signal }),
  };
}

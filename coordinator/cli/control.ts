/** `prestage pause`, `resume`: stop and restart all pre-work. */
import type { Command } from "commander";
import type { Paused } from "../../shared/api.ts";
import type { Shell } from "../../shared/cli/command.ts";
import { addApiCommand } from "./session.ts";

export function addControl(program: Command, shell: Shell, group: string): void {
  addApiCommand(program, shell, {
    usage: "pause",
    group,
    summary: "stop all pre-work of the fleet, within 2 s",
    description:
      "Stops all pre-work of the fleet within 2 s: nothing more is staged or warmed ahead. " +
      "Requests are served as before; what is warm stays warm while it is used.",
    run: async (call, api) => {
      const paused = await api.post<Paused>("pause", {});
      call.show(paused, () => "pre-work is paused: `prestage resume` starts it again\n");
    },
  });
  addApiCommand(program, shell, {
    usage: "resume",
    group,
    summary: "start pre-work again",
    run: async (call, api) => {
      const paused = await api.post<Paused>("resume", {});
      call.show(paused, () => "pre-work is on\n");
    },
  });
}

/** `prestage models`: a user's own forecast models, from ONNX files. */
import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";
import type { Command } from "commander";
import type { ForecastModel, ForecastModelList } from "../../shared/api-models.ts";
import type { Shell } from "../../shared/cli/command.ts";
import { bytes, table, time } from "../../shared/cli/text.ts";
import { Name } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { addApiCommand } from "./session.ts";

/** Larger files are not sent. */
const FILE_BYTES_MAX = 8 << 20;

export function addModels(program: Command, shell: Shell, group: string): void {
  const models = program.command("models").summary("your own forecast models (ONNX)");
  models
    .helpGroup(group)
    .description(
      "Forecast models of your own, exported to ONNX from PyTorch, TensorFlow or others. Each joins " +
        "the experts of the forecast and counts as much as it does well, per category.",
    );
  addModelAdd(models, shell);
  addApiCommand(models, shell, {
    usage: "list",
    isDefault: true,
    summary: "the models and how they do",
    run: async (call, api) => {
      const list = await api.get<ForecastModelList>("models");
      call.show(list, () => modelsText(list));
    },
  });
  addApiCommand(models, shell, {
    usage: "remove <name>",
    summary: "takes a model out of the forecast and the store",
    run: async (call, api) => {
      const path = `models/${encodeURIComponent(call.arg(0))}/remove`;
      const list = await api.post<ForecastModelList>(path, {});
      call.show(list, () => modelsText(list));
    },
  });
}

function addModelAdd(models: Command, shell: Shell): void {
  addApiCommand<{ name?: string }>(models, shell, {
    usage: "add <file>",
    summary: "adds an ONNX model, or replaces the one of its name",
    description:
      "The model takes `past`, float32 [rows, context]: the last counts of each series, oldest " +
      "first, one a minute. It gives `quantiles`, float32 [rows, horizon, 9]: of each of the next " +
      "minutes the levels 0.01 0.05 0.1 0.25 0.5 0.75 0.9 0.95 0.99. `rows` is a dynamic axis or " +
      "1, the others are fixed. It is tried before it is taken, and runs in a process of its own " +
      "with limits of time and memory.",
    examples: [
      ["prestage models add forecaster.onnx", "joins as `forecaster`"],
      ["prestage models add out/v3.onnx --name shops", "joins, or is replaced, as `shops`"],
    ],
    setup: (command) => {
      command.option("--name <name>", "what it is called (default: the file's name)");
    },
    run: async (call, api) => {
      const file = call.arg(0);
      const name = nameOf(call.options.name ?? basename(file, extname(file)));
      const content = await readFile(file).catch((cause: unknown) => {
        throw new PrestageError("NOT_FOUND", `cannot read ${file}`, { cause });
      });
      if (content.byteLength > FILE_BYTES_MAX)
        throw new PrestageError(
          "TOO_LARGE",
          `${file}: a model has at most ${bytes(FILE_BYTES_MAX)}`,
        );
      const onnx = content.toString("base64");
      const added = await api.post<ForecastModel>("models", { name, onnx });
      call.show(
        added,
        () => `${added.name}: looks at ${added.context} bins, forecasts ${added.horizon}\n`,
      );
    },
  });
}

function nameOf(text: string): string {
  const name = Name.safeParse(text);
  if (name.success) return name.data;
  const [issue] = name.error.issues;
  throw new PrestageError("USAGE", `${text} is no name (${issue?.message}): give one with --name`);
}

export function modelsText({ models }: ForecastModelList): string {
  const list = table(
    models,
    [
      { title: "MODEL", value: (m) => m.name },
      { title: "STATE", value: (m: ForecastModel) => m.state },
      { title: "CONTEXT", value: (m) => m.context, right: true },
      { title: "HORIZON", value: (m) => m.horizon, right: true },
      { title: "SIZE", value: (m) => bytes(m.bytes), right: true },
      { title: "ADDED", value: (m) => time(m.addedMs) },
      { title: "BY", value: (m) => m.addedBy },
    ],
    "no forecast models of your own",
  );
  const errors = models.flatMap(({ name, error }) => (error ? [`${name}: ${error}\n`] : []));
  return list + errors.join("");
}

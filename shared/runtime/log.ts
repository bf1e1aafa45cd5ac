/** The log: a constant phrase and fields. The only importer of pino. */
import { type Logger, pino } from "pino";

export type Log = Pick<Logger, "error" | "warn" | "info" | "debug" | "child">;

export function createLog(options: {
  name: string;
  level: string;
  destination?: NodeJS.WritableStream;
}): Log {
  const settings = {
    name: options.name,
    level: options.level,
    redact: ["token", "secret", "authorization", "*.token", "*.secret", "*.authorization"],
  };
  return options.destination ? pino(settings, options.destination) : pino(settings);
}

export const silentLog: Log = pino({ level: "silent" });

import { readFileSync } from "node:fs";

/** `prestage/VERSION`, from package.json. */
export function softwareVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { version: string };
  return `prestage/${version}`;
}

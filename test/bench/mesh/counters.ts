/**
 * Reads files with a number each, some two hundred times a second, until it is ended; a line a
 * time: `MS N...`. A process of its own, so that nothing else makes it late.
 */
import { readFileSync } from "node:fs";

const files = process.argv.slice(2);
/** A reading that took longer says nothing of its moment. */
const READING_MS_MAX = 2;
const EVERY_MS = 5;

setInterval(() => {
  const atMs = performance.now();
  const values = files.map((file) => readFileSync(file, "utf8").trim());
  const endMs = performance.now();
  if (endMs - atMs <= READING_MS_MAX)
    process.stdout.write(`${((atMs + endMs) / 2).toFixed(2)} ${values.join(" ")}\n`);
}, EVERY_MS);

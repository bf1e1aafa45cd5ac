// The demo's workload: a small HTTP server that has to have its data in memory before it can
// answer. Its cold start is real: start Node, read 8–64 MB, check their hash, listen.
//   node workload-server.mjs PORT DATA_DIR CATEGORY
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

// An agent that is killed must not leave its environments behind.
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) process.exit(0);
}, 500).unref();

const [port, dataDir, category] = process.argv.slice(2);
const { workload } = JSON.parse(readFileSync(new URL("about.json", import.meta.url), "utf8"));
const { sha256 } = JSON.parse(readFileSync(join(dataDir, "about.json"), "utf8"));
const data = readFileSync(join(dataDir, "data.bin"));
if (createHash("sha256").update(data).digest("hex") !== sha256) {
  process.stderr.write(`${workload}: data.bin is not what about.json says\n`);
  process.exit(1);
}

const PAGE_BYTES = 4096;
let served = 0;

createServer((request, response) => {
  request.resume();
  const page = (served++ * 2_654_435_761) % Math.max(1, data.length - PAGE_BYTES);
  const digest = createHash("sha256")
    .update(data.subarray(page, page + PAGE_BYTES))
    .digest("hex");
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ workload, category, path: request.url, page, digest }));
}).listen(Number(port), "127.0.0.1");

/**
 * The demo's HTTP origin as a process of its own, so that its work does not disturb what is
 * measured: `main.ts ROOT BYTES_PER_SECOND`. Prints its port as its first line; stops with stdin.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { endOf } from "../../../shared/runtime/terminal.ts";
import { originServer } from "./server.ts";

const [root = ".", bytesPerSecond = "0"] = process.argv.slice(2);
const server = originServer(
  { clock: systemClock },
  { root, bytesPerSecond: Number(bytesPerSecond) },
);
server.listen(0, "127.0.0.1");
await once(server, "listening");
process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
endOf(process.stdin).addEventListener("abort", () => process.exit(0));
process.on("SIGTERM", () => process.exit(0));

/** Trains in a thread of its own, then ends. See `refresh.ts`. */
import { platform, setPriority } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { refreshNetwork } from "./learning.ts";

const LOWEST = 19;
// Linux knows a priority for each thread; elsewhere this would slow the whole coordinator down.
if (platform() === "linux") setPriority(LOWEST);
parentPort?.postMessage(await refreshNetwork(workerData));

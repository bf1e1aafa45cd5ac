/** Reads one calendar or feed in a thread of its own, then ends. See `reader.ts`. */
import { parentPort, workerData } from "node:worker_threads";
import type { ReadRequest } from "./reader.ts";

async function read(request: ReadRequest) {
  const { fromMs, toMs } = request;
  switch (request.kind) {
    case "calendar": {
      const { readCalendar } = await import("./calendar.ts");
      const { timeZone } = request;
      return readCalendar(decode(request.body), { fromMs, toMs, timeZone });
    }
    case "feed": {
      const { readFeed } = await import("./feed.ts");
      const { durationMs } = request;
      return readFeed(decode(request.body), { fromMs, toMs, durationMs });
    }
    case "holidays": {
      const { readHolidays } = await import("./holidays.ts");
      return readHolidays(request.of, { fromMs, toMs });
    }
  }
}

function decode(body: Uint8Array): string {
  return new TextDecoder("utf-8").decode(body);
}

const answer = await read(workerData).then(
  (found) => ({ ok: true, ...found }),
  (cause: unknown) => ({ ok: false, message: cause instanceof Error ? cause.message : "" }),
);
parentPort?.postMessage(answer);

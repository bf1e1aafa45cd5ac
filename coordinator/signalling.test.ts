import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../shared/runtime/clock.ts";
import { silentLog } from "../shared/runtime/log.ts";
import { Metrics } from "../shared/runtime/metrics.ts";
import { seededRandom } from "../shared/runtime/random.ts";
import { temporaryDir } from "../test/support/servers.ts";
import { DemandHistory } from "./demand/history.ts";
import { Signalling } from "./signalling.ts";
import { SignalSettings } from "./signals/settings.ts";
import { Store } from "./store/store.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let answer: RequestListener = (_, response) => response.end();
const server = createServer((request, response) => answer(request, response));
let url = "";
beforeAll(async () => {
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/secret-path.ics`;
});
afterAll(() => server.close());

const stamp = (ms: number) => new Date(ms).toISOString().replace(/[-:]|\.\d+/g, "");
const calendar = (starts: readonly number[], summary = "Match") =>
  [
    "BEGIN:VCALENDAR",
    ...starts.flatMap((ms, i) => [
      "BEGIN:VEVENT",
      `UID:${i}`,
      `DTSTART:${stamp(ms)}`,
      `DTEND:${stamp(ms + 2 * HOUR)}`,
      `SUMMARY:${summary}`,
      "END:VEVENT",
    ]),
    "END:VCALENDAR",
  ].join("\r\n");

const rules = [{ to: [{ workload: "shop" }] }];
const calendarSource = () => ({
  name: "matches",
  type: "calendar",
  url,
  privateNetwork: true,
  pollMs: 1_000,
  rules,
});

/** Real files, a real server, the real clock; `history` is what demand there was. */
async function running(
  dir: string,
  sources: object[],
  work: (signals: Signalling, store: Store) => Promise<void>,
  history = new DemandHistory(),
  pastLearned = () => {},
) {
  const store = Store.open(dir);
  const control = new AbortController();
  const signals = new Signalling({
    clock: systemClock,
    demandClock: systemClock,
    random: seededRandom(1),
    log: silentLog,
    metrics: new Metrics(),
    store,
    history,
    env: {},
    settings: SignalSettings.parse({ sources }),
    pastLearned,
  });
  signals.restore();
  const done = signals.run(control.signal);
  try {
    await work(signals, store);
  } finally {
    control.abort();
    await done;
    store.close();
  }
}

async function until(holds: () => boolean, what: () => unknown): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (holds()) return;
    await delay(50);
  }
  throw new Error(`did not come about: ${JSON.stringify(what())}`);
}
const first = (signals: Signalling) => signals.view().sources[0];

describe("signalling: a calendar", () => {
  test("is read, changes with its source, and outlives the source and a restart", async () => {
    await using folder = await temporaryDir();
    const now = Date.now();
    const starts = [now - 3 * DAY, now + DAY, now + 2 * DAY];
    answer = (request, response) => {
      if (request.headers["if-none-match"] === '"1"') response.writeHead(304).end();
      else response.setHeader("etag", '"1"').end(calendar(starts));
    };
    await running(folder.dir, [calendarSource()], async (signals) => {
      await until(
        () => first(signals)?.state === "ok",
        () => signals.view(),
      );
      expect(first(signals)).toMatchObject({
        name: "matches",
        state: "ok",
        address: `${new URL(url).origin}/…`,
        events: { known: 3, coming: 2, unmatched: 0 },
      });
      // What is over stays though the calendar forgets it; what is not to come any more goes.
      answer = (_, response) => response.end(calendar([now + 5 * DAY]));
      await until(
        () => first(signals)?.events.coming === 1,
        () => signals.view(),
      );
      expect(first(signals)?.events.known).toBe(2);
      answer = (_, response) => response.writeHead(503).end();
      await until(
        () => first(signals)?.state === "failing",
        () => signals.view(),
      );
      expect(first(signals)).toMatchObject({
        error: { code: "UNAVAILABLE" },
        events: { known: 2 },
      });
      expect(signals.counts()).toEqual({ sources: 1, failing: 1, events: 2 });
      expect(JSON.stringify(signals.view())).not.toContain("secret-path");
    });
    await running(folder.dir, [calendarSource()], async (signals) => {
      await until(
        () => first(signals)?.events.known === 2,
        () => signals.view(),
      );
      expect(first(signals)?.events.coming).toBe(1);
    });
    // Another address under the same name: the copy is not its own.
    const elsewhere = { ...calendarSource(), url: "http://127.0.0.1:1/x" };
    await running(folder.dir, [elsewhere], async (signals) => {
      await until(
        () => first(signals)?.state === "failing",
        () => signals.view(),
      );
      expect(first(signals)?.events.coming).toBe(0);
    });
  }, 120_000);

  test("what is no calendar is an error, and what was good stays", async () => {
    await using folder = await temporaryDir();
    answer = (_, response) => response.end(calendar([Date.now() + DAY]));
    await running(folder.dir, [calendarSource()], async (signals) => {
      await until(
        () => first(signals)?.state === "ok",
        () => signals.view(),
      );
      answer = (_, response) => response.end("<html>please log in</html>");
      await until(
        () => first(signals)?.state === "failing",
        () => signals.view(),
      );
      expect(first(signals)).toMatchObject({ error: { code: "CORRUPT" }, events: { known: 1 } });
    });
  }, 120_000);
});

describe("signalling: effects", () => {
  test("are learned from the history that is there, applied to what comes, and kept", async () => {
    await using folder = await temporaryDir();
    const now = Math.floor(Date.now() / MINUTE) * MINUTE;
    const past = [now - 5 * DAY, now - 3 * DAY, now - 2 * DAY, now - DAY].map(
      (ms) => ms - 6 * HOUR,
    );
    const next = now + 30 * MINUTE;
    const history = new DemandHistory();
    for (let ms = now - 8 * DAY; ms < now; ms += MINUTE) {
      const on = past.some((start) => ms >= start && ms < start + 2 * HOUR);
      history.add({
        workload: "shop",
        category: "eu",
        host: "h",
        startMs: ms,
        count: on ? 30 : 10,
      });
    }
    answer = (_, response) => response.end(calendar([...past, next]));
    const effect = (signals: Signalling) =>
      Math.exp(signals.eventEffect("shop", "eu", next, MINUTE, 120)?.logEffect[60] ?? 0);
    const sources = [calendarSource()];
    let told = 0;
    await running(
      folder.dir,
      sources,
      async (signals) => {
        await until(
          () => effect(signals) > 2.5,
          () => signals.view(),
        );
        expect(effect(signals)).toBeLessThan(3.2);
        expect(signals.view().effects).toMatchObject([
          { signal: "matches: match", workload: "shop", category: "eu", occurrences: 4 },
        ]);
        const [coming] = signals.announced("shop", "eu");
        expect(coming).toMatchObject({ signal: "matches: match", startMs: next });
        expect(coming?.factor).toBeGreaterThan(2.5);
        await until(
          () => told > 0,
          () => told,
        );
      },
      history,
      () => {
        told++;
      },
    );
    expect(told).toBe(1);
    answer = (_, response) => response.writeHead(503).end();
    await running(folder.dir, sources, async (signals) => {
      await until(
        () => effect(signals) > 2.5,
        () => signals.view(),
      );
    });
  }, 120_000);
});

describe("signalling: posted events", () => {
  const post = { id: "1", summary: "Launch 1", categories: [] };

  test("are added, replaced by their id, listed, taken back, and outlive a restart", async () => {
    await using folder = await temporaryDir();
    const now = Date.now();
    const targets = [{ workload: "shop" }];
    const event = { ...post, start: now + HOUR, end: now + 2 * HOUR, targets };
    await running(folder.dir, [], async (signals) => {
      const both = [event, { ...post, id: "2", start: now - DAY }];
      expect(await signals.post({ source: "events", events: both })).toEqual({
        ...{ source: "events", added: 2, changed: 0, unchanged: 0 },
        unmatched: ["2"],
      });
      const again = { source: "events", events: [{ ...event, start: now + 3 * HOUR }] };
      expect(await signals.post(again)).toMatchObject({ added: 0, changed: 1 });
      expect(await signals.post(again)).toMatchObject({ changed: 0, unchanged: 1 });
      expect(await signals.remove({ source: "events", ids: ["2", "3"] })).toMatchObject({
        removed: 1,
      });
    });
    await running(folder.dir, [], async (signals) => {
      expect(signals.events({ limit: 10 }).events).toEqual([
        {
          ...{ source: "events", id: "1", summary: "Launch 1" },
          ...{ startMs: now + 3 * HOUR, endMs: now + 3 * HOUR },
          signals: ["events: launch #"],
          targets: [{ workload: "shop", category: null }],
        },
      ]);
      expect(signals.eventEffect("shop", "eu", now + 3 * HOUR, MINUTE, 10)).not.toBeNull();
      expect(signals.eventEffect("other", "eu", now + 3 * HOUR, MINUTE, 10)).toBeNull();
    });
  });

  test("are refused: unknown source, a polled one, twice the same id, years away", async () => {
    await using folder = await temporaryDir();
    answer = (_, response) => response.end(calendar([]));
    await running(folder.dir, [calendarSource()], async (signals) => {
      const refused = (source: string, ...starts: number[]) =>
        signals
          .post({ source, events: starts.map((start) => ({ ...post, start })) })
          .catch((cause: { code: string }) => cause.code);
      expect(await refused("nobody", Date.now())).toBe("NOT_FOUND");
      expect(await refused("matches", Date.now())).toBe("NOT_FOUND");
      expect(await refused("events", Date.now(), Date.now())).toBe("USAGE");
      expect(await refused("events", Date.now() + 500 * DAY)).toBe("USAGE");
      expect(signals.counts().events).toBe(0);
    });
  });
});

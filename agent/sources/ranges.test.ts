import { expect, test } from "vitest";
import { readRange } from "./ranges.ts";
import type { Web, WebAnswer, WebRequest } from "./web.ts";

const PIECE = 64 << 10;
const BYTES = 20 * PIECE;

/** Answers a range in pieces; `pulled` is how many bytes were asked for so far. */
function serving() {
  const state = { asked: false, pulled: 0 };
  async function* pieces() {
    for (; state.pulled < BYTES; ) {
      state.pulled += PIECE;
      yield Buffer.alloc(PIECE, 7);
    }
  }
  const web = {
    ask: (_: WebRequest, use: (answer: WebAnswer) => Promise<Uint8Array>) => {
      state.asked = true;
      const header = (name: string) =>
        name === "content-range" ? `bytes 0-${BYTES - 1}/${BYTES}` : undefined;
      return use({ status: 206, header, body: pieces() } as unknown as WebAnswer);
    },
  } as unknown as Web;
  return { state, web };
}

test("ranges: no more is read than the pace allows, and one piece (from the request on)", async () => {
  const { state, web } = serving();
  let paid = 0;
  const pace = {
    bytesPerSecond: 1,
    wait: async (bytes: number) => {
      if (!state.asked) expect(paid).toBe(0);
      paid += bytes;
    },
  };
  const seen: number[] = [];
  const watched = {
    ...pace,
    wait: async (bytes: number) => {
      await pace.wait(bytes);
      seen.push(state.pulled - paid);
    },
  };
  const { signal } = new AbortController();
  const url = new URL("http://origin.example/file");
  const got = await readRange(web, { url, signal, pace: watched }, { offset: 0, bytes: BYTES });
  expect(got.length).toBe(BYTES);
  expect(paid).toBe(BYTES);
  expect(seen.length).toBeGreaterThan(10);
  expect(Math.max(...seen)).toBeLessThanOrEqual(PIECE);
});

test("ranges: a held reader reads nothing, and ends with its signal", async () => {
  const { state, web } = serving();
  const stop = new AbortController();
  const pace = {
    bytesPerSecond: 0,
    wait: (_: number, signal: AbortSignal) =>
      new Promise<void>((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
  };
  const url = new URL("http://origin.example/file");
  const reading = readRange(web, { url, signal: stop.signal, pace }, { offset: 0, bytes: BYTES });
  stop.abort(new Error("not needed"));
  await expect(reading).rejects.toThrow("not needed");
  expect(state.asked).toBe(false);
});

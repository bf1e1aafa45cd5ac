import { expect, test } from "vitest";
import { readRange } from "./ranges.ts";
import type { Web, WebAnswer, WebRequest } from "./web.ts";

const PIECE = 64 << 10;
/** Asked for at once at the rate of this file's tests. */
const PART = 16 << 10;
const BYTES = 20 * PIECE;
const url = new URL("http://origin.example/file");

/** A server of one file; `sent` is what was read of its answers. */
function serving({ ranges }: { ranges: boolean }) {
  const file = Buffer.from(Array.from({ length: BYTES }, (_, i) => i % 251));
  const state = { requests: 0, sent: 0 };
  async function* pieces(from: number, to: number) {
    for (let at = from; at < to; at += PIECE) {
      const piece = file.subarray(at, Math.min(to, at + PIECE));
      state.sent += piece.length;
      yield piece;
    }
  }
  const web = {
    ask: ({ headers }: WebRequest, use: (answer: WebAnswer) => Promise<Uint8Array>) => {
      state.requests++;
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers?.range ?? "") ?? [];
      const [first, last] = ranges ? [Number(from), Number(to)] : [0, BYTES - 1];
      const header = () => `bytes ${first}-${last}/${BYTES}`;
      const status = ranges ? 206 : 200;
      return use({ status, header, body: pieces(first, last + 1) } as unknown as WebAnswer);
    },
  } as unknown as Web;
  return { file, state, web };
}

test.each([
  ["a server with ranges: asked for in parts", true, 0],
  ["a server without: its one answer is read piece by piece", false, PIECE],
])("ranges: no more comes than was waited for (%s)", async (_, ranges, ahead) => {
  const { file, state, web } = serving({ ranges });
  let waited = 0;
  let most = 0;
  const pace = {
    bytesPerSecond: 1e6,
    wait: async (bytes: number) => {
      most = Math.max(most, state.sent - waited);
      waited += bytes;
    },
  };
  const { signal } = new AbortController();
  const got = await readRange(web, { url, signal, pace }, { offset: PIECE, bytes: BYTES - PIECE });
  expect(file.subarray(PIECE).equals(got)).toBe(true);
  expect(most).toBeLessThanOrEqual(ahead);
  expect(state.requests).toBe(ranges ? (BYTES - PIECE) / PART : 1);
});

test("ranges: a held reader reads nothing, and ends with its signal", async () => {
  const { state, web } = serving({ ranges: true });
  const stop = new AbortController();
  const pace = {
    bytesPerSecond: 0,
    wait: (_: number, signal: AbortSignal) =>
      new Promise<void>((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
  };
  const reading = readRange(web, { url, signal: stop.signal, pace }, { offset: 0, bytes: BYTES });
  stop.abort(new Error("not needed"));
  await expect(reading).rejects.toThrow("not needed");
  expect(state.requests).toBe(0);
});

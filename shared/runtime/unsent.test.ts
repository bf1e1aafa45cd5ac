import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { limitUnsent } from "./unsent.ts";

const BYTES = 64 << 20;

/** What the system takes of a connection whose other end reads nothing. */
async function taken(limit: number | null): Promise<number> {
  const server = createServer((socket) => socket.pause()).listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  if (limit !== null) expect(limitUnsent(socket, limit)).toBe(true);
  socket.write(Buffer.alloc(BYTES));
  for (let i = 0; i < 50; i++) await setImmediate();
  const { _handle: handle } = socket as Socket & { _handle: { writeQueueSize: number } };
  const waiting = handle.writeQueueSize;
  socket.destroy();
  server.close();
  return BYTES - waiting;
}

test.runIf(process.platform === "linux")(
  "unsent: the system takes less of what cannot be sent yet, and as before when unlimited",
  async () => {
    const unlimited = await taken(null);
    expect(await taken(64 << 10)).toBeLessThan(unlimited - (256 << 10));
    expect(await taken(0)).toBeGreaterThan(unlimited / 2);
  },
);

test("unsent: says so when a connection is gone", async () => {
  const socket = connect(1, "127.0.0.1");
  socket.on("error", () => {});
  socket.destroy();
  expect(limitUnsent(socket, 1)).toBe(false);
});

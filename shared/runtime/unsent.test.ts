import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { systemClock } from "./clock.ts";
import { limitUnsent } from "./unsent.ts";

const PIECE = new Uint8Array(64 << 10);

/** What a connection takes for a peer that reads nothing. */
async function taken(limit: number): Promise<number> {
  const peers: Socket[] = [];
  await using server = createServer({ pauseOnConnect: true }, (peer) => peers.push(peer));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  expect(limitUnsent(socket, limit)).toBe(true);
  let bytes = 0;
  const write = () =>
    socket.write(PIECE, (failure) => {
      if (!failure) bytes += PIECE.length;
    });
  for (let seen = -1, same = 0; same < 20; seen = bytes) {
    while (write());
    await systemClock.sleep(5);
    same = seen === bytes ? same + 1 : 0;
  }
  for (const end of [socket, ...peers]) end.on("error", () => null).destroy();
  return bytes;
}

test.runIf(process.platform === "linux")(
  "unsent: a connection takes little when told so, and as much as ever when told otherwise",
  async () => {
    const [free, held] = [await taken(0), await taken(64 << 10)];
    expect(held).toBeLessThan(free / 2);
  },
);

test("unsent: says so when a connection is gone", () => {
  const socket = connect(1, "127.0.0.1");
  socket.on("error", () => null).destroy();
  expect(limitUnsent(socket, 1)).toBe(false);
});

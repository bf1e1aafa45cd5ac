import { spawn } from "node:child_process";
import { get } from "node:http";
import { connect, type Socket } from "node:net";
import { expect, test } from "vitest";
import { systemClock } from "../../shared/runtime/clock.ts";
import { CONNECT_TIMEOUT, Connections } from "./connections.ts";

/** Listens, then never accepts: once its backlog is full, connecting to it hangs. */
const DEAF = `
const server = require("node:net").createServer();
server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
  require("node:fs").writeSync(1, String(server.address().port));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});`;

test("connections: connecting to a host that does not answer is given up in time", async () => {
  const deaf = spawn(process.execPath, ["-e", DEAF], { stdio: ["ignore", "pipe", "inherit"] });
  const sockets: Socket[] = [];
  const connections = new Connections(systemClock, { connectMs: 200 });
  try {
    const port = await new Promise<number>((resolve) => {
      deaf.stdout.once("data", (chunk) => resolve(Number(`${chunk}`)));
    });
    for (let i = 0; i < 8; i++) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => socket.destroy());
      sockets.push(socket);
    }
    const startMs = systemClock.monotonic();
    const failure = await new Promise((resolve) => {
      get({ host: "127.0.0.1", port, agent: connections }).on("error", resolve);
    });
    expect(failure).toMatchObject({ code: CONNECT_TIMEOUT });
    expect(systemClock.monotonic() - startMs).toBeGreaterThan(190);
  } finally {
    for (const socket of sockets) socket.destroy();
    connections.destroy();
    deaf.kill("SIGKILL");
  }
});

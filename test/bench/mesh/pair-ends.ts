/** The other processes of the pair benchmark: `seeder MIB`, and `proxy DELAY_MS PORT...`. */
import { hash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { TestFleet, writeTree } from "../../../agent/mesh/mesh.fixture.ts";
import type { Member, SignedManifest } from "../../../shared/domain.ts";

const MIB = 1 << 20;
export type Seeded = { member: Member; signed: SignedManifest; digest: string; tcpPort: number };

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** Publishes a file over the mesh, and sends it to whoever connects over bare TCP. */
async function seed(mib: number): Promise<void> {
  const fleet = new TestFleet();
  const host = await fleet.start("seeder");
  const bytes = randomBytes(mib * MIB);
  const dir = await fleet.folder();
  await writeTree(dir, { "x.bin": bytes });
  const signed = await fleet.publish(host, dir);
  const file = join(dir, "x.bin");
  const tcpPort = await listening(
    createServer((socket) => createReadStream(file, { highWaterMark: MIB }).pipe(socket)),
  );
  process.on("message", (fetcher: Member) => host.mesh.setMembers([host.member, fetcher]));
  process.once("disconnect", () => void fleet.close().then(() => process.exit()));
  const seeded: Seeded = { member: host.member, signed, digest: hash("sha256", bytes), tcpPort };
  process.send?.(seeded);
}

/** Hands every byte on late, in both directions; says the ports of its own for the given ones. */
async function proxy(delayMs: number, ports: number[]): Promise<void> {
  const own: number[] = [];
  for (const port of ports)
    own.push(
      await listening(
        createServer((inside) => {
          const outside = connect(port, "127.0.0.1");
          for (const [from, to] of [
            [inside, outside],
            [outside, inside],
          ] as const) {
            from.setNoDelay(true);
            from.on("data", (piece) => setTimeout(() => to.write(piece), delayMs));
            from.on("close", () => setTimeout(() => to.destroy(), delayMs));
            from.on("error", () => from.destroy());
          }
        }),
      ),
    );
  process.once("disconnect", () => process.exit());
  process.send?.(own);
}

const [role, ...numbers] = process.argv.slice(2);
if (role === "seeder") await seed(Number(numbers[0]));
if (role === "proxy") await proxy(Number(numbers[0]), numbers.slice(1).map(Number));

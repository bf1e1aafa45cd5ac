/** What is simulated: how many hosts, what they want, how they are linked, what goes wrong. */
import { seededRandom } from "../../../shared/runtime/random.ts";

export type SwarmOptions = {
  hosts: number;
  bytes: number;
  /** Of every host, each way. */
  linkBytesPerSecond: number;
  /** Hosts that have it from the beginning; 0: it comes from the origin. */
  seeders: number;
  originBytesPerSecond: number;
  sites: number;
  /** Each way between a site and the others; 0: as if there were no sites. */
  thinBytesPerSecond: number;
  neighbours: number;
  /** Hosts refuse what would wait behind much; 0: they take all. */
  refusing: number;
  /** Hosts begin within so long of one another. */
  spreadMs: number;
  /** Shares of the hosts. */
  dying: number;
  lying: number;
  slow: number;
  /** Who brings this share of it in from the origin dies at once; 0: nobody. */
  killAt: number;
  /** A run ends there, done or not. */
  untilMs: number;
};

export const SWARM_DEFAULTS: SwarmOptions = {
  hosts: 2_600,
  bytes: 3e9,
  linkBytesPerSecond: 300e6,
  seeders: 1,
  originBytesPerSecond: 300e6,
  sites: 1,
  thinBytesPerSecond: 0,
  neighbours: 24,
  refusing: 1,
  spreadMs: 0,
  dying: 0,
  lying: 0,
  slow: 0,
  killAt: 0,
  untilMs: 600_000,
};

/** A version cut as files are: chunks of 64 KiB to 1 MiB, about 340 KiB on average. */
export function versionOf(bytes: number, seed: number): { hash: string; bytes: number }[] {
  const random = seededRandom(`version ${seed}`);
  const chunks: { hash: string; bytes: number }[] = [];
  for (let left = bytes; left > 0; ) {
    const size = Math.min(left, 1 << 20, (64 << 10) + Math.ceil(random.exponential(280 << 10)));
    const name = chunks.length.toString(16).padStart(8, "0");
    chunks.push({ hash: Math.floor(random.next() * 2 ** 32).toString(16) + name, bytes: size });
    left -= size;
  }
  return chunks;
}

/**
 * Hosts of a real network on one machine: network namespaces on a bridge, each with an address and
 * a link of its own. Needs root and iproute2.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** All namespaces and links made here begin with it and say whose they are: `ps-PID-`. */
const PREFIX = `ps-${process.pid.toString(36)}-`;
const ANY_PREFIX = /^ps-([0-9a-z]+)-/;
const BRIDGE = `${PREFIX}br`;
/** One for each process, so that two runs on one machine do not meet. */
const SUBNET = `10.${64 + ((process.pid >> 8) % 64)}.${process.pid % 256}`;
/** This process's own address on the bridge. */
const OUTSIDE = `${SUBNET}.254`;
const OUTPUT_BYTES_MAX = 16 << 20;

/** Why there can be no namespaces here; null when there can. */
export function namespaceObstacle(): string | null {
  if (process.getuid?.() !== 0) return "needs root";
  for (const tool of ["ip", "tc"])
    try {
      execFileSync(tool, ["-V"], { stdio: "ignore" });
    } catch {
      return `needs ${tool} (iproute2)`;
    }
  try {
    execFileSync("ip", ["netns", "add", `${PREFIX}probe`], { stdio: "ignore" });
    execFileSync("ip", ["netns", "del", `${PREFIX}probe`], { stdio: "ignore" });
  } catch {
    return "may not make network namespaces";
  }
  return null;
}

export type Finished = { exit: number; stdout: string; stderr: string };

export class TestNetwork {
  readonly #addresses = new Map<string, string>();
  readonly #children = new Set<ChildProcess>();

  /** Makes the bridge, and a namespace for each name; `close` removes all of it. */
  static async open(names: readonly string[]): Promise<TestNetwork> {
    await removeAll();
    const network = new TestNetwork();
    try {
      await run("ip", ["link", "add", BRIDGE, "type", "bridge"]);
      await run("ip", ["address", "add", `${OUTSIDE}/24`, "dev", BRIDGE]);
      await run("ip", ["link", "set", BRIDGE, "up"]);
      for (const name of names) await network.#add(name);
    } catch (cause) {
      await network.close();
      throw cause;
    }
    return network;
  }

  /** This process's own address there. */
  readonly outside = OUTSIDE;

  address(name: string): string {
    const found = this.#addresses.get(name);
    if (!found) throw new Error(`no host ${name}`);
    return found;
  }

  /** What comes to the host comes at this rate from now on; null takes the limit away. */
  async limit(name: string, megabitsPerSecond: number | null): Promise<void> {
    const link = ["dev", linkOf(name), "root"];
    if (megabitsPerSecond === null) {
      await run("tc", ["qdisc", "del", ...link]);
      return;
    }
    const shape = ["rate", `${megabitsPerSecond}mbit`, "burst", "64kb", "latency", "50ms"];
    await run("tc", ["qdisc", "replace", ...link, "tbf", ...shape]);
  }

  /** A link of this rate in both directions. */
  async shape(name: string, megabitsPerSecond: number): Promise<void> {
    // Four milliseconds of the link at once, as a switch would let pass.
    const burst = `${Math.max(64, Math.round(megabitsPerSecond / 2))}kb`;
    const shape = ["rate", `${megabitsPerSecond}mbit`, "burst", burst, "latency", "30ms"];
    const inside = ["-n", namespaceOf(name), "qdisc", "replace", "dev", `${linkOf(name)}i`];
    await run("tc", ["qdisc", "replace", "dev", linkOf(name), "root", "tbf", ...shape]);
    await run("tc", [...inside, "root", "tbf", ...shape]);
  }

  /** Bytes that came to the host over its link so far, all headers included. */
  async receivedBytes(name: string): Promise<number> {
    return Number(await readFile(this.counterOf(name, "received"), "utf8"));
  }

  /** Where the counter stands of bytes that the host sent or received. */
  counterOf(name: string, which: "sent" | "received"): string {
    // What the bridge's end sends is what the host gets.
    const counter = which === "received" ? "tx_bytes" : "rx_bytes";
    return `/sys/class/net/${linkOf(name)}/statistics/${counter}`;
  }

  /** Hosts send frame by frame as on a cable from now on; else one header stands for up to 64 KiB. */
  async everyFrame(): Promise<void> {
    for (const name of this.#addresses.keys()) {
      const link = ["dev", `${linkOf(name)}i`, "gso_max_segs", "1"];
      await run("ip", ["-n", namespaceOf(name), "link", "set", ...link]);
    }
  }

  /** A process of that host; its output goes to the file. */
  start(name: string, command: readonly string[], logFile: string): ChildProcess {
    const log = openSync(logFile, "a", 0o600);
    const child = spawn("ip", ["netns", "exec", namespaceOf(name), ...command], {
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }

  /** Runs a command on that host to its end. */
  run(
    name: string,
    command: readonly string[],
    { stdin = "", env = {} }: { stdin?: string; env?: Record<string, string> } = {},
  ): Promise<Finished> {
    return new Promise((resolve) => {
      const options = { env: { ...process.env, ...env }, maxBuffer: OUTPUT_BYTES_MAX };
      const args = ["netns", "exec", namespaceOf(name), ...command];
      const child = execFile("ip", args, options, (_cause, stdout, stderr) => {
        resolve({ exit: child.exitCode ?? -1, stdout, stderr });
      });
      // One that ended before it read shows by its exit.
      child.stdin?.on("error", () => child.stdin?.destroy());
      child.stdin?.end(stdin);
    });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#children].map((child) => killed(child)));
    await removeAll();
  }

  async #add(name: string): Promise<void> {
    const namespace = namespaceOf(name);
    const link = linkOf(name);
    const address = `${SUBNET}.${10 + this.#addresses.size}`;
    const inside = `${link}i`;
    await run("ip", ["netns", "add", namespace]);
    await run("ip", ["link", "add", link, "type", "veth", "peer", "name", inside]);
    await run("ip", ["link", "set", inside, "netns", namespace]);
    await run("ip", ["link", "set", link, "master", BRIDGE, "up"]);
    await run("ip", ["-n", namespace, "address", "add", `${address}/24`, "dev", inside]);
    for (const device of ["lo", inside])
      await run("ip", ["-n", namespace, "link", "set", device, "up"]);
    this.#addresses.set(name, address);
  }
}

/** SIGKILL, and gone when it resolves. */
export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}

/**
 * Ends what runs in the namespaces of this process or of one that is gone, then removes them and
 * their bridges.
 */
async function removeAll(): Promise<void> {
  const { stdout } = await run("ip", ["netns", "list"]);
  const names = stdout.split("\n").map((line) => line.split(" ")[0] ?? "");
  for (const name of names.filter(isOurs)) {
    const { stdout: pids } = await run("ip", ["netns", "pids", name]);
    for (const pid of pids.split("\n").filter(Boolean)) end(Number(pid));
    await run("ip", ["netns", "delete", name]);
  }
  const { stdout: links } = await run("ip", ["-o", "link", "show", "type", "bridge"]);
  for (const [, bridge] of links.matchAll(/^\d+: ([^:]+):/gm))
    if (bridge && isOurs(bridge)) await run("ip", ["link", "delete", bridge]);
}

function isOurs(name: string): boolean {
  const owner = ANY_PREFIX.exec(name)?.[1];
  if (owner === undefined) return false;
  const pid = Number.parseInt(owner, 36);
  return pid === process.pid || !existsSync(`/proc/${pid}`);
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ESRCH") throw cause;
  }
}

const namespaceOf = (name: string) => `${PREFIX}${name}`;
/** A link's name has 15 characters at most, one of them for the inner end's `i`. */
const linkOf = (name: string) => `${PREFIX}${name.slice(PREFIX.length - 14)}`;

/**
 * Finds and ends what environments leave behind, without ever touching a stranger. A number alone
 * is no proof: pids are used again. So each environment has a record on disk (pid and its start
 * time) and carries its id in its process's variables; a process is ours only when it carries an id
 * of ours, and its start time is read before and after that look, so that it cannot have been
 * exchanged in between. A parent-death signal would be simpler, but Node cannot set one.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../shared/runtime/clock.ts";
import { sendSignal } from "../../shared/runtime/signal.ts";

export const ENVIRONMENT_VARIABLE = "PRESTAGE_ENVIRONMENT";

export type ProcessSeen = {
  pid: number;
  /** Clock ticks since boot, from the kernel. */
  startTicks: string;
  environment: string;
};

type EnvironmentRecord = { id: string; pid: number | null; startTicks: string | null };

/** Start time of a live process; null when it is gone (or a zombie), or without /proc. */
export async function startTicksOf(pid: number): Promise<string | null> {
  const stat = await readProc(pid, "stat");
  if (stat === null) return null;
  // The name may contain spaces and brackets; fields count from after its last bracket.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? null : (fields[19] ?? null);
}

/** Live processes that carry one of the given environment ids. */
export async function processesOf(ids: ReadonlySet<string>): Promise<ProcessSeen[]> {
  if (ids.size === 0) return [];
  const names = await readdir("/proc").catch(missing(() => []));
  const found: ProcessSeen[] = [];
  for (const name of names) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const environment = environmentIn(await readProc(pid, "environ"));
    if (environment === null || !ids.has(environment)) continue;
    const startTicks = await startTicksOf(pid);
    if (startTicks !== null) found.push({ pid, startTicks, environment });
  }
  return found;
}

/** Forces the process to end if it still is the one that was seen. */
export async function endProcess(seen: ProcessSeen): Promise<boolean> {
  const environment = environmentIn(await readProc(seen.pid, "environ"));
  const startTicks = await startTicksOf(seen.pid);
  if (environment !== seen.environment || startTicks !== seen.startTicks) return false;
  return sendSignal(seen.pid, "SIGKILL");
}

/**
 * Ends every process of these environments, also ones that appear meanwhile; gives how many it
 * ended. The number of rounds is bounded: what forks faster than that is left to the next start.
 */
export async function sweep(ids: ReadonlySet<string>, clock: Clock): Promise<number> {
  let ended = 0;
  for (let round = 0; round < 10; round++) {
    const seen = await processesOf(ids);
    if (seen.length === 0) break;
    for (const one of seen) if (await endProcess(one)) ended++;
    await clock.sleep(20);
  }
  return ended;
}

/** The records of one agent's environments: a folder with a file each. */
export class EnvironmentRecords {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Before the process exists: should the agent die in between, the id is enough to find it. */
  async open(id: string): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    await this.#write({ id, pid: null, startTicks: null });
  }

  async started(id: string, pid: number): Promise<void> {
    await this.#write({ id, pid, startTicks: await startTicksOf(pid) });
  }

  async close(id: string): Promise<void> {
    await rm(this.#file(id), { force: true });
  }

  /** Ends what the recorded environments left behind and forgets them. */
  async recover(clock: Clock): Promise<number> {
    const names = await readdir(this.#dir).catch(missing(() => []));
    const ids = names.filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5));
    const ended = await sweep(new Set(ids), clock);
    for (const id of ids) await this.close(id);
    return ended;
  }

  #file(id: string): string {
    return join(this.#dir, `${id}.json`);
  }

  async #write(record: EnvironmentRecord): Promise<void> {
    await writeFile(this.#file(record.id), JSON.stringify(record), { mode: 0o600 });
  }
}

function environmentIn(environ: string | null): string | null {
  const prefix = `${ENVIRONMENT_VARIABLE}=`;
  const line = environ?.split("\0").find((one) => one.startsWith(prefix));
  return line === undefined ? null : line.slice(prefix.length);
}

/** A file of /proc/PID; null when the process is gone or not ours to look at. */
async function readProc(pid: number, file: "stat" | "environ"): Promise<string | null> {
  return readFile(`/proc/${pid}/${file}`, "utf8").catch(missing(() => null));
}

/** For what may be gone at any moment: those errors become `value`, others stay errors. */
function missing<T>(value: () => T): (cause: unknown) => T {
  return (cause) => {
    const code = cause instanceof Error && "code" in cause ? cause.code : null;
    if (code === "ENOENT" || code === "ESRCH" || code === "EACCES" || code === "EPERM")
      return value();
    throw cause;
  };
}

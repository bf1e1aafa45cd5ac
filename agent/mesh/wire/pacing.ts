/**
 * Splits this host's staging budget over those who send to it, by what each has still to send, and
 * tells them: requests alone cannot hold a rate, as their answers may all come at once. What one is
 * to send less counts as his until he says that he heard it, so that the sum of what is sent passes
 * the budget at no moment. Rates change only where somebody is held up by his: telling, hearing
 * and confirming them for every request cost a twelfth of all CPU while chunks move. Refused:
 * granting bytes instead of rates; a distant sender would wait for each grant.
 */
import { PACE_MAX } from "./frames.ts";

/** Bytes on the wire per second, infinite: no limit; in all, and from outside this host's site. */
export type PacingLimits = { total: number; outside: number };
export type PacingDeps = {
  tell: (host: string, bytesPerSecond: number) => void;
  isOutside: (host: string) => boolean;
  /** All that came from a host so far; null: not known. */
  receivedBytes: (host: string) => number | null;
};

/** Faster than any link: not worth telling. */
const UNLIMITED = 10e9;
/** A share that differs by less is left as it is. */
const TREMBLE = 0.1;
/** Who sends this part of what he may is held up by it. */
const HELD_SHARE = 0.7;
/** What comes from a host is measured over as long. */
const MEASURED_MS = 200;
/** Who does not say for so long that he heard it, is taken to have. */
const HEARD_MS = 3_000;

/** `inForce`: what he may be going by, the last told last; `came` in the last bytes per second. */
type Sender = {
  inForce: number[];
  toldMs: number;
  active: boolean;
  target: number;
  came: { atMs: number; bytes: number; bytesPerSecond: number };
};

export class Pacing {
  readonly #deps: PacingDeps;
  readonly #senders = new Map<string, Sender>();
  #limited = false;
  #limits: PacingLimits = { total: 0, outside: 0 };

  constructor(deps: PacingDeps) {
    this.#deps = deps;
  }

  /** Whether a host may be asked for more without being told a rate first. */
  knows(host: string): boolean {
    return !this.#limited || this.#senders.get(host)?.active === true;
  }

  /** `open`: bytes asked for in the background and still to come, by host. */
  update(limits: PacingLimits, open: ReadonlyMap<string, number>, nowMs: number): void {
    this.#limits = limits;
    const wasLimited = this.#limited;
    this.#limited = Math.min(limits.total, limits.outside) < UNLIMITED;
    for (const [host, target] of shares(limits, open, this.#deps.isOutside)) {
      const inForce = wasLimited ? [] : [PACE_MAX];
      const came = { atMs: nowMs, bytes: 0, bytesPerSecond: Number.POSITIVE_INFINITY };
      const sender = this.#senders.get(host) ?? {
        inForce,
        toldMs: nowMs,
        active: true,
        target,
        came,
      };
      // Nobody knows yet whether the others leave anything for one who is new among them.
      if (this.#limited && !sender.active) sender.inForce = [];
      sender.active = true;
      sender.target = this.#limited ? target : PACE_MAX;
      this.#measure(host, sender, nowMs);
      this.#senders.set(host, sender);
    }
    const senders = [...this.#senders].filter(([host]) => open.has(host));
    const short = senders.some(([, s]) => isHeld(s) && told(s) < s.target * (1 - TREMBLE));
    const tight = short || !this.#limited || !this.#fits(told);
    this.#forget(open, nowMs, tight);
    if (tight) this.#lower(senders, nowMs);
    this.#raise(senders, nowMs);
  }

  /** The host goes by this rate now. True when that leaves more for others. */
  heard(host: string, bytesPerSecond: number): boolean {
    const sender = this.#senders.get(host);
    const at = sender?.inForce.indexOf(bytesPerSecond, 1) ?? -1;
    if (!sender || at < 1) return false;
    const before = most(sender);
    sender.inForce = sender.inForce.slice(at);
    return most(sender) < before;
  }

  /** Whether all that is in force keeps the limits: who was told to send less heard it. */
  get settled(): boolean {
    return !this.#limited || this.#fits(most);
  }

  /** Nothing that was said on a connection that ended is in force any more. */
  gone(host: string): void {
    this.#senders.delete(host);
  }

  #fits(rate: (sender: Sender) => number): boolean {
    const free = this.#free(rate);
    return free.total >= 0 && free.outside >= 0;
  }

  /** What those who send leave of the limits. */
  #free(rate: (sender: Sender) => number): PacingLimits {
    let { total, outside } = this.#limits;
    for (const [host, sender] of this.#senders) {
      if (!sender.active) continue;
      total -= rate(sender);
      if (this.#deps.isOutside(host)) outside -= rate(sender);
    }
    return { total, outside };
  }

  #measure(host: string, { came }: Sender, nowMs: number): void {
    if (nowMs - came.atMs < MEASURED_MS) return;
    const bytes = this.#deps.receivedBytes(host);
    if (bytes === null) return;
    came.bytesPerSecond = ((bytes - came.bytes) * 1000) / (nowMs - came.atMs);
    came.atMs = nowMs;
    came.bytes = bytes;
  }

  #forget(open: ReadonlyMap<string, number>, nowMs: number, tight: boolean): void {
    for (const [host, sender] of this.#senders) {
      // Of whom nothing is asked: what he was told last comes before what he is asked next. He
      // keeps it while nobody else is short of it.
      if (tight) sender.active &&= open.has(host);
      const heard = !sender.active || nowMs - sender.toldMs > HEARD_MS;
      if (heard) sender.inForce = sender.inForce.slice(-1);
    }
  }

  #lower(senders: readonly [string, Sender][], nowMs: number): void {
    for (const [host, sender] of senders)
      if (told(sender) > sender.target) this.#tell(host, sender, sender.target, nowMs);
  }

  #raise(senders: readonly [string, Sender][], nowMs: number): void {
    const { isOutside } = this.#deps;
    const free = this.#free(most);
    for (const [host, sender] of senders) {
      if (sender.inForce.length === 0) this.#tell(host, sender, 0, nowMs);
      if (this.#limited && !isHeld(sender)) continue;
      const more = isOutside(host) ? Math.min(free.total, free.outside) : free.total;
      const rate = Math.floor(Math.min(sender.target, most(sender) + more));
      if (rate <= told(sender) * (1 + TREMBLE)) continue;
      const took = Math.max(0, rate - most(sender));
      this.#tell(host, sender, rate, nowMs);
      free.total -= took;
      if (isOutside(host)) free.outside -= took;
    }
  }

  #tell(host: string, sender: Sender, bytesPerSecond: number, nowMs: number): void {
    const rate = Math.floor(bytesPerSecond);
    if (rate === sender.inForce.at(-1)) return;
    sender.inForce.push(rate);
    sender.toldMs = nowMs;
    this.#deps.tell(host, rate);
  }
}

function told({ inForce }: Sender): number {
  return inForce.at(-1) ?? 0;
}

function isHeld(sender: Sender): boolean {
  return sender.came.bytesPerSecond >= told(sender) * HELD_SHARE;
}

function most({ inForce }: Sender): number {
  return Math.max(0, ...inForce);
}

/** By bytes still to come; what those outside may not use goes to the others. */
function shares(
  { total, outside }: PacingLimits,
  open: ReadonlyMap<string, number>,
  isOutside: (host: string) => boolean,
): Map<string, number> {
  const bytes = { far: 0, near: 0 };
  for (const [host, b] of open) bytes[isOutside(host) ? "far" : "near"] += b;
  const all = bytes.far + bytes.near;
  if (all === 0 || total <= 0) return new Map([...open.keys()].map((host) => [host, 0]));
  const farRate = Math.min(outside, bytes.near > 0 ? (total * bytes.far) / all : total);
  const rate = { far: farRate, near: total - farRate };
  return new Map(
    [...open].map(([host, b]) => {
      const group = isOutside(host) ? "far" : "near";
      return [host, Math.min(PACE_MAX, rate[group] * (b / Math.max(1, bytes[group])))];
    }),
  );
}

/**
 * Transfer cores of some hosts of one site over simulated links (each host one up, one down, first
 * come first served), some of them liars. In simulated time, so the same everywhere.
 */
import { hash } from "node:crypto";
import { Bitmap } from "../../agent/mesh/transfer/bitmap.ts";
import { TRANSFER_DEFAULTS } from "../../agent/mesh/transfer/options.ts";
import { Transfer } from "../../agent/mesh/transfer/transfer.ts";
import { Units } from "../../agent/mesh/transfer/units.ts";
import type { Answer, Effect } from "../../agent/mesh/transfer/wants.ts";
import { seededRandom } from "../../shared/runtime/random.ts";

/** `bytes`, `length`: wrong chunks; `refuse`: says it has them; `silent`: never answers. */
export type Lie = "bytes" | "refuse" | "silent";
export type SwarmOptions = {
  seed: string;
  honest: number;
  liars: number;
  lie: Lie;
  chunks: number;
  chunkBytes: number;
  bytesPerSecond: number;
};
type Host = { name: string; core: Transfer | null; lies: boolean; upMs: number; downMs: number };
type Event = { atMs: number; run: () => void };

const LATENCY_MS = 1;
const TICK_MS = 100;
const ID = "m";

/** Milliseconds until the last honest host has all, and what the liars cost. */
export function runSwarm(o: SwarmOptions): { lastMs: number; wrong: number; cutOff: number } {
  const chunks = Array.from({ length: o.chunks }, (_, i) => {
    return { hash: hash("sha256", `${i}`, "hex"), bytes: o.chunkBytes };
  });
  const units = Units.of(chunks);
  const events: Event[] = [];
  let nowMs = 0;
  let wrong = 0;
  let cutOff = 0;
  let left = o.honest;
  const at = (atMs: number, run: () => void) => {
    let i = events.length;
    while (i > 0 && (events[i - 1]?.atMs ?? 0) > atMs) i--;
    events.splice(i, 0, { atMs, run });
  };
  const make = (name: string, lies: boolean, wants: boolean): Host => ({
    name,
    lies,
    core: wants
      ? new Transfer({ ...TRANSFER_DEFAULTS, self: name, random: seededRandom(o.seed + name) })
      : null,
    upMs: 0,
    downMs: 0,
  });
  const hosts = [
    make("seeder", false, false),
    ...Array.from({ length: o.honest }, (_, i) => make(`h${i}`, false, true)),
    ...Array.from({ length: o.liars }, (_, i) => make(`liar${i}`, true, false)),
  ];
  const byName = new Map(hosts.map((h) => [h.name, h]));
  const cancelled = new Set<string>();

  const step = (host: Host, event: Parameters<Transfer["step"]>[0]) => {
    if (host.core) for (const effect of host.core.step(event, nowMs)) perform(host, effect);
  };
  const perform = (host: Host, effect: Effect) => {
    if (effect.type === "complete") left--;
    if (effect.type === "shun") cutOff++;
    if (effect.type === "cancel") cancelled.add(`${host.name} ${effect.from} ${effect.unit}`);
    if (effect.type === "have")
      for (const other of hosts)
        if (other !== host)
          at(nowMs + LATENCY_MS, () =>
            step(other, { type: "have", host: host.name, id: ID, units: [effect.unit] }),
          );
    if (effect.type === "request") ask(host, effect);
  };
  const ask = (host: Host, effect: Extract<Effect, { type: "request" }>) => {
    const from = byName.get(effect.host);
    if (!from) return;
    const key = `${host.name} ${from.name} ${effect.unit}`;
    cancelled.delete(key);
    const answer = (result: Answer) => () => {
      if (cancelled.delete(key)) return;
      if (result === "bad") wrong++;
      const { unit, positions } = effect;
      step(host, { type: "answer", id: ID, unit, positions, from: from.name, result });
    };
    if (from.lies && o.lie === "silent") return;
    if (from.lies && o.lie === "refuse") return at(nowMs + 2 * LATENCY_MS, answer("missing"));
    const tookMs = (effect.bytes / o.bytesPerSecond) * 1_000;
    from.upMs = Math.max(from.upMs, nowMs + LATENCY_MS) + tookMs;
    host.downMs = Math.max(host.downMs, from.upMs - tookMs) + tookMs;
    at(Math.max(from.upMs, host.downMs) + LATENCY_MS, answer(from.lies ? "bad" : "ok"));
  };

  const all = { id: ID, wanting: false, urgent: false, claims: [] };
  for (const host of hosts) {
    if (!host.core) continue;
    step(host, { type: "members", hosts: hosts.map((h) => h.name) });
    step(host, { type: "rate", bytesPerSecond: 1e12 });
    for (const other of hosts) {
      if (other === host) continue;
      const holds = other.core === null;
      const have = holds ? Bitmap.full(units.count) : new Bitmap(units.count);
      const said = { ...all, have, wanting: !holds };
      const manifests = [said];
      step(host, { type: "said", host: other.name, local: true, whole: true, manifests });
    }
    const missing = chunks.map((_, i) => i);
    const want = { id: ID, chunks, missing, priority: 1, deadlineMs: 0, foreground: false };
    step(host, { type: "want", want: { ...want, hasOrigin: false } });
  }
  for (let tickMs = TICK_MS; ; tickMs += TICK_MS) {
    for (let next = events[0]; next && next.atMs <= tickMs; next = events[0]) {
      events.shift();
      nowMs = next.atMs;
      next.run();
      if (left === 0) return { lastMs: nowMs, wrong, cutOff };
    }
    nowMs = tickMs;
    for (const host of hosts) step(host, { type: "tick" });
    if (tickMs > 3_600_000) throw new Error("never done");
  }
}

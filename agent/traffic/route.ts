/** Where one request goes next: pure, from the last route table and what is ready here. */
import type { HostId, RouteEntry } from "../../shared/domain.ts";

export type RouteView = {
  self: HostId;
  /** Of the last table; undefined when it has none, or no table ever came. */
  entry: RouteEntry | undefined;
  /** A request could begin here at once. */
  readyHere: boolean;
  /** One is being made here. */
  makingHere: boolean;
  /** Hosts that could not serve this request, perhaps this one among them. */
  tried: ReadonlySet<HostId>;
  /** Other hosts this request may still be sent to. */
  triesLeft: number;
  /** Whether a router of that host is known. */
  reachable(host: HostId): boolean;
};

export type Target = { kind: "here" } | { kind: "there"; host: HostId } | { kind: "nowhere" };

/**
 * What is ready here is nearest. Else a host with a proven environment; else where one is being
 * made; else the entry's homes, best affinity first, make it; and when nobody else can, this host.
 */
export function chooseTarget(view: RouteView): Target {
  const { self, entry, tried } = view;
  const hereLeft = !tried.has(self);
  const usable = (host: HostId) =>
    host !== self && view.triesLeft > 0 && !tried.has(host) && view.reachable(host);
  if (hereLeft && view.readyHere) return { kind: "here" };
  const serving = entry?.serving.find(usable);
  if (serving !== undefined) return { kind: "there", host: serving };
  if (hereLeft && view.makingHere) return { kind: "here" };
  for (const host of entry?.home ?? []) {
    if (host === self && hereLeft) return { kind: "here" };
    if (usable(host)) return { kind: "there", host };
  }
  return hereLeft ? { kind: "here" } : { kind: "nowhere" };
}

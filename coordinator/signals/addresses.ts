/**
 * Which addresses a calendar's URL may lead to. Link-local ones (cloud metadata), multicast and
 * unspecified never; private and loopback ones only where the source says so. Checked for every
 * address a name resolves to, at the time of connecting, so that a name cannot change its mind.
 */
import { lookup } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { PrestageError } from "../../shared/errors.ts";

const NEVER = blockList([
  ["0.0.0.0", 8],
  ["169.254.0.0", 16],
  ["192.0.0.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
  ["::", 128],
  ["fe80::", 10],
  ["ff00::", 8],
  ["fd00:ec2::", 32],
]);
const PRIVATE = blockList([
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["::1", 128],
  ["fc00::", 7],
  ["64:ff9b::", 96],
  ["64:ff9b:1::", 48],
  ["2002::", 16],
]);

function blockList(nets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [net, prefix] of nets)
    list.addSubnet(net, prefix, net.includes(":") ? "ipv6" : "ipv4");
  return list;
}

export function allowed(address: string, privateNetwork: boolean): boolean {
  const plain = address.toLowerCase().startsWith("::ffff:") ? mapped(address) : address;
  const family = isIP(plain);
  if (family === 0) return false;
  const name = family === 6 ? "ipv6" : "ipv4";
  return !NEVER.check(plain, name) && (privateNetwork || !PRIVATE.check(plain, name));
}

/** The IPv4 address in `::ffff:1.2.3.4` or `::ffff:102:304`. */
function mapped(address: string): string {
  const rest = address.slice("::ffff:".length);
  if (rest.includes(".")) return rest;
  const [high = 0, low = 0] = rest.split(":").map((part) => Number.parseInt(part, 16));
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

export function refusal(host: string): PrestageError {
  return new PrestageError(
    "FORBIDDEN",
    `${host} is a private or reserved address: set privateNetwork for one of your own network`,
    { details: { host } },
  );
}

/** Throws FORBIDDEN when the URL's host is itself an address that is not allowed. */
export function checkHost(url: URL, privateNetwork: boolean): void {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0 && !allowed(host, privateNetwork)) throw refusal(host);
}

/** Resolves names to allowed addresses only. */
export function guardedLookup(privateNetwork: boolean): LookupFunction {
  return (host, options, callback) => {
    lookup(host, { ...options, all: true }, (error, addresses) => {
      const [first, ...rest] = (addresses ?? []).filter((a) => allowed(a.address, privateNetwork));
      if (error) callback(error, "", 0);
      else if (!first) callback(refusal(host), "", 0);
      else if (options.all) callback(null, [first, ...rest]);
      else callback(null, first.address, first.family);
    });
  };
}

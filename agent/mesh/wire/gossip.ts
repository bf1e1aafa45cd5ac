/**
 * What a host tells its site: which versions it has how much of, which it is fetching, and which
 * chunks it is getting from outside. Statements are absolute, so losing or repeating one does no
 * harm; a `whole` one also says that there is nothing else.
 */
import { z } from "zod";
import { HostId, Name, Sha256 } from "../../../shared/domain.ts";
import { Bitmap } from "../transfer/bitmap.ts";
import type { Said } from "../transfer/wants.ts";

export const ANNOUNCEMENT_BYTES_MAX = 1 << 20;
const CHUNKS_MAX = 100_000;
const ENTRIES_MAX = 2_000;

const Entry = z.strictObject({
  id: Sha256,
  size: z.number().int().min(0).max(CHUNKS_MAX),
  /** Everything, nothing, or the bits, base64. */
  have: z.union([z.literal("all"), z.literal("none"), z.base64()]),
  wanting: z.boolean(),
  urgent: z.boolean(),
  /** It has all, and is to be asked only for what it says directly. */
  spreading: z.boolean().default(false),
  claims: z.array(z.number().int().min(0).max(CHUNKS_MAX)).max(256),
  /** Its way to the origin works. */
  reaches: z.boolean().default(true),
});
const Announcement = z.strictObject({
  host: HostId,
  site: Name,
  /** Rises within a start of the process, and from start to start. */
  startedMs: z.number().min(0),
  sequence: z.number().int().min(0),
  whole: z.boolean(),
  manifests: z.array(Entry).max(ENTRIES_MAX),
});
type Entry = z.infer<typeof Entry>;
type Head = Omit<z.infer<typeof Announcement>, "manifests">;
export type Announcement = Head & { manifests: Said[] };

export function encodeEntry(m: Said): Entry {
  return {
    id: m.id,
    size: m.have.size,
    have: encodeBits(m.have),
    wanting: m.wanting,
    urgent: m.urgent,
    spreading: m.spreading ?? false,
    claims: [...m.claims].slice(0, 256),
    reaches: m.reaches ?? true,
  };
}

export function encodeAnnouncement(head: Head, entries: readonly Entry[]): Uint8Array {
  return Buffer.from(JSON.stringify({ ...head, manifests: entries.slice(0, ENTRIES_MAX) }));
}

/** Null when it is not one. */
export function decodeAnnouncement(bytes: Uint8Array): Announcement | null {
  if (bytes.length > ANNOUNCEMENT_BYTES_MAX) return null;
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return null;
  }
  const parsed = Announcement.safeParse(json);
  if (!parsed.success) return null;
  const manifests: Said[] = [];
  for (const entry of parsed.data.manifests) {
    const have = decodeBits(entry.have, entry.size);
    if (!have) return null;
    const { id, wanting, urgent, spreading, claims, reaches } = entry;
    manifests.push({ id, have, wanting, urgent, spreading, claims, reaches });
  }
  return { ...parsed.data, manifests };
}

/** The answer to a `holdings` request: the size and the bits. */
export function encodeHoldings(have: Bitmap): Uint8Array {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(have.size);
  return Buffer.concat([head, have.toBytes()]);
}

export function decodeHoldings(bytes: Uint8Array): Bitmap | null {
  if (bytes.length < 4) return null;
  const size = Buffer.from(bytes).readUInt32BE(0);
  if (size > CHUNKS_MAX || bytes.length !== 4 + Math.ceil(size / 8)) return null;
  return new Bitmap(size, bytes.slice(4));
}

function encodeBits(have: Bitmap): string {
  if (have.complete) return "all";
  if (have.count === 0) return "none";
  return Buffer.from(have.toBytes()).toString("base64");
}

function decodeBits(text: string, size: number): Bitmap | null {
  if (text === "all") return Bitmap.full(size);
  if (text === "none") return new Bitmap(size);
  const bytes = Buffer.from(text, "base64");
  return bytes.length === Math.ceil(size / 8) ? new Bitmap(size, new Uint8Array(bytes)) : null;
}

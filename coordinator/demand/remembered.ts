/** A function of short texts that remembers its last results. */

const REMEMBERED_MAX = 20_000;
/** Longer texts are worked on each time. */
const TEXT_CHARS_MAX = 300;

/**
 * `name` with a bounded memory. Results are strings of their own: V8 makes a part of a string a
 * view that keeps the whole alive, and a name cut out of a log would keep 256 KiB of that log.
 */
export function remembered(name: (text: string) => string): (text: string) => string {
  const known = new Map<string, string>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const found = ownText(name(text));
    if (text.length > TEXT_CHARS_MAX) return found;
    if (known.size >= REMEMBERED_MAX) known.clear();
    known.set(ownText(text), found);
    return found;
  };
}

export function ownText(text: string): string {
  return Buffer.from(text, "utf16le").toString("utf16le");
}

/**
 * Lines of a text that comes as bytes, cut anywhere. UTF-8 unless a byte order mark says UTF-16;
 * bytes that are no valid text become U+FFFD, for a line of them is a bad line and no more.
 */

/** A longer line is given up to here and one more, the rest is skipped: memory stays bounded. */
export const LINE_CHARS_MAX = 1 << 20;

export class LineSplitter {
  #decoder: TextDecoder | null = null;
  #head: Uint8Array = new Uint8Array(0);
  #rest = "";

  /** The lines that end in these bytes, without their line ends. */
  push(bytes: Uint8Array): string[] {
    if (this.#decoder) return this.#split(this.#decoder.decode(bytes, { stream: true }));
    this.#head = this.#head.length === 0 ? bytes : Buffer.concat([this.#head, bytes]);
    if (this.#head.length < 2) return [];
    return this.#split(this.#begin().decode(this.#head, { stream: true }));
  }

  /** What stands after the last line end, when there is anything. */
  end(): string[] {
    const decoder = this.#decoder ?? this.#begin();
    const text = this.#head.length < 2 ? decoder.decode(this.#head) : decoder.decode();
    const lines = this.#split(text);
    if (this.#rest !== "") lines.push(this.#rest);
    this.#rest = "";
    return lines;
  }

  #begin(): TextDecoder {
    const [first, second] = this.#head;
    const label =
      first === 0xff && second === 0xfe
        ? "utf-16le"
        : first === 0xfe && second === 0xff
          ? "utf-16be"
          : "utf-8";
    this.#decoder = new TextDecoder(label);
    return this.#decoder;
  }

  #split(text: string): string[] {
    const lines: string[] = [];
    let from = 0;
    for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", from)) {
      const line = from === 0 ? this.#rest + text.slice(0, at) : text.slice(from, at);
      if (from === 0) this.#rest = "";
      lines.push(bounded(line.endsWith("\r") ? line.slice(0, -1) : line));
      from = at + 1;
    }
    this.#rest = bounded(this.#rest + text.slice(from));
    return lines;
  }
}

function bounded(line: string): string {
  return line.length > LINE_CHARS_MAX ? line.slice(0, LINE_CHARS_MAX + 1) : line;
}

/**
 * A look over MessagePack bytes before they are unpacked. A few bytes can claim four billion
 * elements, nest until the stack ends, or carry extension types that make msgpackr build dates,
 * sets, errors or records for a stranger. Here every claim is held against the bytes that are
 * really there, so that unpacking costs no more than the frame deserves. Refused alternative:
 * trusting the unpacker's own options, which leave extensions on.
 */
import { isUtf8 } from "node:buffer";

const DEPTH_MAX = 16;
const KEY_BYTES_MAX = 256;
/** Texts longer than this are checked here: decoding megabytes of broken UTF-8 is slow. */
const UNCHECKED_BYTES_MAX = 256;
const PROTO = [..."__proto__"].map((c) => c.charCodeAt(0));

/** What keeps the bytes from being read, or null when they are one plain value. */
export function prescan(bytes: Uint8Array, { elementsMax }: { elementsMax: number }) {
  const scan = new Scan(bytes, elementsMax);
  return scan.run();
}

class Scan {
  readonly #bytes: Uint8Array;
  readonly #elementsMax: number;
  #at = 0;
  #elements = 1;
  /** Values still to come in each open container; a map's keys and values count apart. */
  readonly #left: number[] = [];
  readonly #isMap: boolean[] = [];

  constructor(bytes: Uint8Array, elementsMax: number) {
    this.#bytes = bytes;
    this.#elementsMax = elementsMax;
  }

  run(): string | null {
    do {
      const refused = this.#value();
      if (refused !== null) return refused;
      while (this.#left.at(-1) === 0) {
        this.#left.pop();
        this.#isMap.pop();
      }
    } while (this.#left.length > 0);
    return this.#at === this.#bytes.length ? null : "trailing bytes";
  }

  #value(): string | null {
    const depth = this.#left.length - 1;
    const left = this.#left[depth] ?? 0;
    const isKey = this.#isMap[depth] === true && left % 2 === 0;
    if (depth >= 0) this.#left[depth] = left - 1;
    const token = this.#bytes[this.#at];
    if (token === undefined) return "truncated";
    this.#at++;
    if (isKey) return this.#key(token);
    if (token < 0x80 || token >= 0xe0) return null;
    if (token < 0x90) return this.#open(token & 0x0f, true);
    if (token < 0xa0) return this.#open(token & 0x0f, false);
    if (token < 0xc0) return this.#skip(token & 0x1f);
    return this.#wide(token);
  }

  /** Tokens 0xc0–0xdf. */
  #wide(token: number): string | null {
    switch (token) {
      case 0xc0: // nil
      case 0xc2: // false
      case 0xc3: // true
        return null;
      case 0xcc: // uint 8
      case 0xd0: // int 8
        return this.#skip(1);
      case 0xcd: // uint 16
      case 0xd1: // int 16
        return this.#skip(2);
      case 0xca: // float 32
      case 0xce: // uint 32
      case 0xd2: // int 32
        return this.#skip(4);
      case 0xcb: // float 64
      case 0xcf: // uint 64
      case 0xd3: // int 64
        return this.#skip(8);
      case 0xd9: // str 8
      case 0xda: // str 16
      case 0xdb: // str 32
        return this.#text(this.#length(1 << (token - 0xd9)));
      case 0xdc: // array 16
      case 0xdd: // array 32
        return this.#open(this.#length(2 << (token - 0xdc)), false);
      case 0xde: // map 16
      case 0xdf: // map 32
        return this.#open(this.#length(2 << (token - 0xde)), true);
      default:
        return "binary, extension or reserved type";
    }
  }

  #key(token: number): string | null {
    let length = -1;
    if (token >= 0xa0 && token < 0xc0) length = token & 0x1f;
    else if (token === 0xd9) length = this.#length(1);
    if (length < 0 || length > KEY_BYTES_MAX) return "key is no short text";
    const start = this.#at;
    const refused = this.#skip(length);
    if (refused !== null) return refused;
    if (length === PROTO.length && PROTO.every((c, i) => this.#bytes[start + i] === c))
      return "key __proto__";
    return null;
  }

  /** Big-endian length of `width` bytes; what is beyond the end reads as zero and fails later. */
  #length(width: number): number {
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 256 + (this.#bytes[this.#at + i] ?? 0);
    this.#at += width;
    return value;
  }

  #text(length: number): string | null {
    const start = this.#at;
    const refused = this.#skip(length);
    if (refused !== null || length <= UNCHECKED_BYTES_MAX) return refused;
    return isUtf8(this.#bytes.subarray(start, this.#at)) ? null : "text is no UTF-8";
  }

  #skip(length: number): string | null {
    this.#at += length;
    return this.#at > this.#bytes.length ? "truncated" : null;
  }

  #open(count: number, isMap: boolean): string | null {
    if (this.#at > this.#bytes.length) return "truncated";
    const values = isMap ? count * 2 : count;
    if (values > this.#bytes.length - this.#at) return "claims more elements than bytes";
    this.#elements += values;
    if (this.#elements > this.#elementsMax) return "too many elements";
    if (this.#left.length >= DEPTH_MAX) return "nested too deep";
    this.#left.push(values);
    this.#isMap.push(isMap);
    return null;
  }
}

/**
 * Which near hosts have which units of a version: a bit for each host in the words of a unit, so
 * that whom to ask for it stands in one place. Hosts are numbers from 0 on, given out again when
 * they are free. Refused: looking into what each host said, a scattered look-up per host.
 */
export class Holders {
  readonly #units: number;
  /** 32 hosts a word. */
  #words = 1;
  #bits: Uint32Array;
  /** Hosts that are passed over, one bit each. */
  #passed = new Uint32Array(1);
  /** By host, how many units it has. */
  readonly #counts: number[] = [];
  /** How many hosts have something. */
  hosts = 0;

  constructor(units: number) {
    this.#units = units;
    this.#bits = new Uint32Array(units);
  }

  has(unit: number, host: number): boolean {
    if (host >= 32 * this.#words) return false;
    return ((this.#bits[unit * this.#words + (host >> 5)] ?? 0) & (1 << (host & 31))) !== 0;
  }

  /** Must not be set before. */
  set(unit: number, host: number): void {
    if (host >= 32 * this.#words) this.#widen(host);
    const at = unit * this.#words + (host >> 5);
    this.#bits[at] = (this.#bits[at] ?? 0) | (1 << (host & 31));
    const count = this.#counts[host] ?? 0;
    this.#counts[host] = count + 1;
    if (count === 0) this.hosts++;
  }

  /** Must be set before. */
  clear(unit: number, host: number): void {
    const at = unit * this.#words + (host >> 5);
    this.#bits[at] = (this.#bits[at] ?? 0) & ~(1 << (host & 31));
    const count = this.#counts[host] ?? 0;
    this.#counts[host] = count - 1;
    if (count === 1) this.hosts--;
  }

  /** Passes over a host until `restart`. */
  pass(host: number): void {
    this.#passed[host >> 5] = (this.#passed[host >> 5] ?? 0) | (1 << (host & 31));
  }

  restart(): void {
    this.#passed.fill(0);
  }

  /** The first host from `host` on that has the unit and is not passed over; -1: none. */
  next(unit: number, host: number): number {
    for (let word = host >> 5; word < this.#words; word++) {
      let bits = (this.#bits[unit * this.#words + word] ?? 0) & ~(this.#passed[word] ?? 0);
      if (word === host >> 5) bits &= -1 << (host & 31);
      if (bits !== 0) return 32 * word + 31 - Math.clz32(bits & -bits);
    }
    return -1;
  }

  #widen(host: number): void {
    const words = Math.max(2 * this.#words, (host >> 5) + 1);
    const bits = new Uint32Array(this.#units * words);
    for (let unit = 0; unit < this.#units; unit++)
      for (let word = 0; word < this.#words; word++)
        bits[unit * words + word] = this.#bits[unit * this.#words + word] ?? 0;
    this.#words = words;
    this.#bits = bits;
    this.#passed = new Uint32Array(words);
  }
}

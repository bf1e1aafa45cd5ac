/** The last `capacity` bytes of a stream. */
export class OutputTail {
  readonly #capacity: number;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < 2 * this.#capacity && this.#chunks.length < 256) return;
    const tail = Buffer.concat(this.#chunks).subarray(-this.#capacity);
    this.#chunks = [Buffer.from(tail)];
    this.#bytes = tail.length;
  }

  text(): string {
    return Buffer.concat(this.#chunks).subarray(-this.#capacity).toString("utf8");
  }
}

/** So much has to come before it says anything of the way: a small file measures only the delay. */
const SAMPLE_BYTES_MIN = 1 << 20;
/** Raised: follows sooner and trembles more. */
const NEW_SHARE = 0.3;

/** Bytes per second over the time something was under way, exponentially weighted; 0: not known. */
export class Rate {
  bytesPerSecond = 0;
  #bytes = 0;
  #atMs: number | null = null;
  #sampleBytes = 0;
  #sampleMs = 0;

  /** `bytes` is the total so far; `busy`: something is under way. Call often. */
  sample(bytes: number, busy: boolean, nowMs: number): void {
    if (this.#atMs !== null && (busy || bytes > this.#bytes)) {
      this.#sampleMs += nowMs - this.#atMs;
      this.#sampleBytes += bytes - this.#bytes;
    }
    this.#bytes = bytes;
    this.#atMs = nowMs;
    if (this.#sampleBytes < SAMPLE_BYTES_MIN || this.#sampleMs <= 0) return;
    const now = (this.#sampleBytes * 1000) / this.#sampleMs;
    const share = this.bytesPerSecond === 0 ? 1 : NEW_SHARE;
    this.bytesPerSecond += (now - this.bytesPerSecond) * share;
    this.#sampleBytes = 0;
    this.#sampleMs = 0;
  }
}

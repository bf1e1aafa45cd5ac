/**
 * Room for what is computed about a whole past and done with before the caller returns. Taking it
 * anew for each of a thousand fits, between what they keep, would leave the heap full of holes.
 */
export class Scratch {
  #room = new Float64Array(0);

  /** What is in it is what was there before. */
  take(length: number): Float64Array {
    if (this.#room.length < length) this.#room = new Float64Array(length);
    return this.#room.subarray(0, length);
  }
}

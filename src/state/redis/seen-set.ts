import { hash } from 'node:crypto';

/** 128 bits of hash a member, in words. */
const WORDS = 4;
const FIRST_SLOTS = 1 << 12;
const FULL = 0.7;

/** Remembers which texts it was shown, in 16 bytes each (32 at worst): SCAN may name a key more than once. */
export class SeenSet {
  #slots = FIRST_SLOTS;
  #table = new Uint32Array(FIRST_SLOTS * WORDS);
  #size = 0;

  /** Returns whether it is new. */
  add(text: string): boolean {
    const digest = hash('sha1', text, 'buffer');
    const words = [0, 4, 8, 12].map((at) => digest.readUInt32LE(at));
    // Four zeros mean an empty slot.
    words[0] = (words[0] ?? 0) || 1;
    if (!this.#put(words)) return false;
    this.#size++;
    if (this.#size > this.#slots * FULL) this.#grow();
    return true;
  }

  #put(words: readonly number[]): boolean {
    const table = this.#table;
    for (let slot = (words[1] ?? 0) % this.#slots; ; slot = (slot + 1) % this.#slots) {
      const at = slot * WORDS;
      if (table[at] === 0) {
        table.set(words, at);
        return true;
      }
      if (words.every((word, index) => table[at + index] === word)) return false;
    }
  }

  #grow(): void {
    const old = this.#table;
    this.#slots *= 2;
    this.#table = new Uint32Array(this.#slots * WORDS);
    for (let at = 0; at < old.length; at += WORDS) {
      if (old[at] !== 0) this.#put([...old.subarray(at, at + WORDS)]);
    }
  }
}

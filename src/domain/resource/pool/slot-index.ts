/** An array is worth its memory where one slot in so many is in it. */
const SPARSE = 16;

/**
 * A row for some of the slots. While few have one it is a map: there may be as many resources as agents can think of. Where
 * many have one it is an array, which a decision reads ten times as fast.
 */
export class SlotIndex {
  readonly #sparse = new Map<number, number>();
  #dense: Int32Array | undefined;
  #size = 0;
  #highest = 0;

  /** Below 0: none. */
  get(slot: number): number {
    const dense = this.#dense;
    if (dense !== undefined) return dense[slot] ?? -1;
    return this.#sparse.get(slot) ?? -1;
  }

  /** `row` below 0: none any more. */
  set(slot: number, row: number): void {
    const before = this.get(slot);
    if (before < 0 && row >= 0) this.#size += 1;
    if (before >= 0 && row < 0) this.#size -= 1;
    this.#highest = Math.max(this.#highest, slot);
    const dense = this.#dense;
    if (dense === undefined) {
      if (row < 0) this.#sparse.delete(slot);
      else this.#sparse.set(slot, row);
      if (this.#size * SPARSE >= 2 * (this.#highest + SPARSE)) this.#makeDense();
    } else if (slot < dense.length && this.#size * SPARSE >= dense.length) dense[slot] = row;
    else this.#rebuild(dense, slot, row);
  }

  #makeDense(): void {
    const dense = new Int32Array(this.#highest + 1).fill(-1);
    for (const [slot, row] of this.#sparse) dense[slot] = row;
    this.#sparse.clear();
    this.#dense = dense;
  }

  /** The array is too short or mostly empty. */
  #rebuild(dense: Int32Array, slot: number, row: number): void {
    const length = Math.max(slot + 1, dense.length);
    if (this.#size * SPARSE >= length) {
      // Room for more, as long as that is not mostly empty.
      const grown = new Int32Array(Math.max(length, Math.min(length * 2, this.#size * SPARSE))).fill(-1);
      grown.set(dense);
      grown[slot] = row;
      this.#dense = grown;
      return;
    }
    for (let at = 0; at < dense.length; at++) {
      const kept = dense[at] ?? -1;
      if (kept >= 0) this.#sparse.set(at, kept);
    }
    if (row < 0) this.#sparse.delete(slot);
    else this.#sparse.set(slot, row);
    this.#dense = undefined;
  }
}

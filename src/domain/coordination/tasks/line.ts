/** Something that has a place in a line. */
export interface Placed {
  /** The smaller comes first. */
  readonly rank: number;
  /** Between equals: the order of submission. */
  readonly order: readonly [revision: bigint, index: number];
}

/** Whether `a` comes before `b`. */
export function comesBefore(a: Placed, b: Placed): boolean {
  if (a.rank !== b.rank) return a.rank < b.rank;
  if (a.order[0] !== b.order[0]) return a.order[0] < b.order[0];
  return a.order[1] < b.order[1];
}

/**
 * A sorted line. Nearly everything is put at its end and taken from its beginning; what is taken from the middle stays as a gap
 * until the beginning has come there.
 */
export class Line<T extends Placed> {
  #items: (T | undefined)[] = [];
  #start = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  first(): T | undefined {
    while (this.#start < this.#items.length) {
      const item = this.#items[this.#start];
      if (item !== undefined) return item;
      this.#start += 1;
    }
    return undefined;
  }

  put(item: T): void {
    let at = this.#items.length;
    const last = this.#items[at - 1];
    if (last === undefined || comesBefore(item, last)) at = this.#placeOf(item);
    if (at === this.#items.length) this.#items.push(item);
    else if (at === this.#start && at > 0) {
      this.#start -= 1;
      this.#items[this.#start] = item;
    } else this.#items.splice(at, 0, item);
    this.#size += 1;
  }

  /** Whether it was there. */
  remove(item: T): boolean {
    let at = this.#placeOf(item);
    while (at < this.#items.length && this.#items[at] === undefined) at += 1;
    if (this.#items[at] !== item) at = this.#items.indexOf(item, this.#start);
    if (at < 0) return false;
    this.#items[at] = undefined;
    this.#size -= 1;
    if (this.#size === 0 || (this.#start > 1024 && this.#start * 2 > this.#items.length)) this.#tidy();
    else if (this.#items.length - this.#start > 64 && this.#size * 4 < this.#items.length - this.#start)
      this.#tidy();
    return true;
  }

  /** In order. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (let at = this.#start; at < this.#items.length; at += 1) {
      const item = this.#items[at];
      if (item !== undefined) yield item;
    }
  }

  #tidy(): void {
    this.#items = this.#items.filter((item) => item !== undefined);
    this.#start = 0;
  }

  /** The first place whose item does not come before this one. */
  #placeOf(item: T): number {
    let low = this.#start;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      let probe = middle;
      while (probe < high && this.#items[probe] === undefined) probe += 1;
      const there = probe < high ? this.#items[probe] : undefined;
      if (there === undefined) high = middle;
      else if (comesBefore(there, item)) low = probe + 1;
      else high = middle;
    }
    return low;
  }
}

import { SlotIndex } from './slot-index.ts';

/** One resource on the agents that have or hold any of it: an array each for its numbers, with a row for each agent. */
export class ResourceTable {
  readonly name: string;
  /** By row. */
  readonly capacity: number[] = [];
  /** Capacity with over-commit, by row. */
  readonly reservable: number[] = [];
  /** By row. */
  readonly reserved: number[] = [];
  readonly #slots: number[] = [];
  readonly #rows = new SlotIndex();

  constructor(name: string) {
    this.name = name;
  }

  get size(): number {
    return this.#slots.length;
  }

  /** The row of the agent in this slot; below 0: it has none of it. */
  rowOf(slot: number): number {
    return this.#rows.get(slot);
  }

  slotAt(row: number): number {
    return this.#slots[row] ?? -1;
  }

  /** How much may be reserved in all on the agent in this slot. */
  reservableOn(slot: number): number {
    const row = this.#rows.get(slot);
    return row < 0 ? 0 : (this.reservable[row] ?? 0);
  }

  reservedOn(slot: number): number {
    const row = this.#rows.get(slot);
    return row < 0 ? 0 : (this.reserved[row] ?? 0);
  }

  capacityOn(slot: number): number {
    const row = this.#rows.get(slot);
    return row < 0 ? 0 : (this.capacity[row] ?? 0);
  }

  /** Below 0 where more is reserved than may be. */
  freeOn(slot: number): number {
    const row = this.#rows.get(slot);
    return row < 0 ? 0 : (this.reservable[row] ?? 0) - (this.reserved[row] ?? 0);
  }

  setCapacity(slot: number, capacity: number, reservable: number): void {
    const row = this.#row(slot);
    this.capacity[row] = capacity;
    this.reservable[row] = reservable;
  }

  addReserved(slot: number, amount: number): void {
    const row = this.#row(slot);
    this.reserved[row] = (this.reserved[row] ?? 0) + amount;
  }

  remove(slot: number): void {
    const row = this.#rows.get(slot);
    if (row < 0) return;
    this.#rows.set(slot, -1);
    const last = this.#slots.length - 1;
    if (row !== last) {
      const moved = this.#slots[last] ?? -1;
      this.#rows.set(moved, row);
      this.#slots[row] = moved;
      for (const column of [this.capacity, this.reservable, this.reserved]) column[row] = column[last] ?? 0;
    }
    this.#slots.pop();
    for (const column of [this.capacity, this.reservable, this.reserved]) column.pop();
  }

  #row(slot: number): number {
    const known = this.#rows.get(slot);
    if (known >= 0) return known;
    const row = this.#slots.length;
    this.#rows.set(slot, row);
    this.#slots.push(slot);
    for (const column of [this.capacity, this.reservable, this.reserved]) column.push(0);
    return row;
  }
}

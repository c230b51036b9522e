/** Zones as small numbers, which are used again when a zone has no agents any more. */
export class ZoneIndex {
  readonly #zones = new Map<string, { index: number; agents: number }>();
  readonly #unused: number[] = [];
  #next = 0;

  /** One more than the highest index. */
  get size(): number {
    return this.#next;
  }

  /** Each zone that has agents, with its index. */
  *entries(): IterableIterator<[zone: string, index: number]> {
    for (const [zone, { index }] of this.#zones) yield [zone, index];
  }

  indexOf(zone: string): number | undefined {
    return this.#zones.get(zone)?.index;
  }

  /** One more agent is in it. */
  enter(zone: string): number {
    let known = this.#zones.get(zone);
    if (known === undefined) {
      known = { index: this.#unused.pop() ?? this.#next, agents: 0 };
      if (known.index === this.#next) this.#next += 1;
      this.#zones.set(zone, known);
    }
    known.agents += 1;
    return known.index;
  }

  leave(zone: string): void {
    const known = this.#zones.get(zone);
    if (known === undefined) return;
    known.agents -= 1;
    if (known.agents > 0) return;
    this.#zones.delete(zone);
    this.#unused.push(known.index);
  }
}

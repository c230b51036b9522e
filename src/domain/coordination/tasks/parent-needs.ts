import { Line } from './line.ts';
import type { Item } from './waiting.ts';

/** Of the children of one parent so many are looked at in one go, and so many have their turn. */
const MAX_LOOKED_AT = 256;
const MAX_TURNS = 16;

/**
 * Tasks that wait for their parent's budget, in the order in which they would be placed. As each that is placed changes the parent,
 * and all of them would look at it again, only a few have their turn at a time.
 */
export class ParentNeeds {
  readonly #lines = new Map<string, Line<Item>>();
  readonly #waiting = new Map<string, { parentId: string; item: Item }>();

  add(parentId: string, item: Item): void {
    this.remove(item.id);
    this.#waiting.set(item.id, { parentId, item });
    let line = this.#lines.get(parentId);
    if (line === undefined) {
      line = new Line();
      this.#lines.set(parentId, line);
    }
    line.put(item);
  }

  remove(id: string): void {
    const known = this.#waiting.get(id);
    if (known === undefined) return;
    this.#waiting.delete(id);
    const line = this.#lines.get(known.parentId);
    line?.remove(known.item);
    if (line?.size === 0) this.#lines.delete(known.parentId);
  }

  /** Parents that tasks wait for. */
  parents(): string[] {
    return [...this.#lines.keys()];
  }

  /** The next that are to be looked at again, of those for which there is enough. */
  take(parentId: string, isEnough: (id: string) => boolean): string[] {
    const taken: string[] = [];
    let looked = 0;
    for (const { id } of this.#lines.get(parentId) ?? []) {
      looked += 1;
      if (looked > MAX_LOOKED_AT || taken.length === MAX_TURNS) break;
      if (isEnough(id)) taken.push(id);
    }
    for (const id of taken) this.remove(id);
    return taken;
  }
}

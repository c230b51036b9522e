import TinyQueue from 'tinyqueue';

interface Due {
  id: string;
  atMs: number;
}

/** Tasks about which something is due at a time, each at most once. What was moved leaves its old place behind until that comes up, or there are too many. */
export class DueTasks {
  #queue = new TinyQueue<Due>([], sooner);
  readonly #times = new Map<string, number>();

  /** @param atMs undefined: nothing is due about it any more */
  set(id: string, atMs: number | undefined): void {
    if (atMs === undefined) {
      this.#times.delete(id);
      this.#tidy();
      return;
    }
    if (this.#times.get(id) === atMs) return;
    this.#times.set(id, atMs);
    this.#queue.push({ id, atMs });
    this.#tidy();
  }

  /** Places taken, old ones included. */
  get places(): number {
    return this.#queue.length;
  }

  /** Takes those out whose time has come, at most `limit`. */
  take(nowMs: number, limit: number): string[] {
    const ids: string[] = [];
    for (let next = this.#queue.peek(); next !== undefined && ids.length < limit; next = this.#queue.peek()) {
      const isOld = this.#times.get(next.id) !== next.atMs;
      if (!isOld && next.atMs > nowMs) break;
      this.#queue.pop();
      if (isOld) continue;
      this.#times.delete(next.id);
      ids.push(next.id);
    }
    return ids;
  }

  #tidy(): void {
    if (this.#queue.length <= 2 * this.#times.size + SPARE) return;
    const live = [...this.#times].map(([id, atMs]) => ({ id, atMs }));
    this.#queue = new TinyQueue<Due>(live, sooner);
  }
}

/** Old places that are always left alone. */
const SPARE = 64;

const sooner = (a: Due, b: Due): number => a.atMs - b.atMs;

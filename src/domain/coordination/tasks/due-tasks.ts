import TinyQueue from 'tinyqueue';

interface Due {
  id: string;
  atMs: number;
}

/** Tasks about which something is due at a time, each at most once. What was moved leaves its old place behind until that comes up. */
export class DueTasks {
  readonly #queue = new TinyQueue<Due>([], (a, b) => a.atMs - b.atMs);
  readonly #times = new Map<string, number>();

  /** @param atMs undefined: nothing is due about it any more */
  set(id: string, atMs: number | undefined): void {
    if (atMs === undefined) {
      this.#times.delete(id);
      return;
    }
    if (this.#times.get(id) === atMs) return;
    this.#times.set(id, atMs);
    this.#queue.push({ id, atMs });
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
}

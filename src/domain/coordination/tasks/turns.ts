import { earlier, type Lane } from './waiting.ts';

export interface TurnsOptions {
  /** What an owner's clock says: the smaller is served first. */
  clock(owner: string): number;
  /** Whether an owner comes after all who have not as much. */
  overSoft(owner: string): boolean;
}

/** Lanes of one owner that are compared for each placement, at most. */
const MAX_LANES = 256;
/** Owners that come last for now, of which so many are asked again at a time. */
const MAX_LAST = 256;

interface Turn {
  readonly owner: string;
  readonly last: boolean;
  readonly clock: number;
}

/**
 * Lanes that are to be looked at, in the order in which their owners have their turns. Owners stand in a heap by what their
 * clocks said when they came: clocks go forward, so that it is enough to look again at whoever is first.
 */
export class Turns {
  readonly #options: TurnsOptions;
  readonly #lanes = new Map<string, Set<Lane>>();
  /** Of each owner the turn that counts; others in the heap do not. */
  readonly #turns = new Map<string, Turn>();
  readonly #last = new Set<string>();
  #heap: Turn[] = [];

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#lanes.size === 0;
  }

  add(lane: Lane): void {
    const lanes = this.#lanes.get(lane.owner);
    if (lanes === undefined) this.#lanes.set(lane.owner, new Set([lane]));
    else lanes.add(lane);
    this.#stand(lane.owner);
  }

  has(lane: Lane): boolean {
    return this.#lanes.get(lane.owner)?.has(lane) === true;
  }

  delete(lane: Lane): void {
    const lanes = this.#lanes.get(lane.owner);
    if (lanes?.delete(lane) !== true || lanes.size > 0) return;
    this.#lanes.delete(lane.owner);
    this.#turns.delete(lane.owner);
    this.#last.delete(lane.owner);
  }

  clear(): void {
    this.#lanes.clear();
    this.#turns.clear();
    this.#last.clear();
    this.#heap = [];
  }

  /** Of the lanes that may be served the one whose owner's turn it is, and of his the one whose first comes first. */
  next(): Lane | undefined {
    this.#askLast();
    for (let turn = this.#heap[0]; turn !== undefined; turn = this.#heap[0]) {
      if (this.#turns.get(turn.owner) !== turn) {
        this.#pop();
        continue;
      }
      const now = this.#turnOf(turn.owner);
      if (before(turn, now)) {
        this.#pop();
        this.#push(now);
        continue;
      }
      const lane = this.#firstOf(turn.owner);
      if (lane !== undefined) return lane;
    }
    this.#heap = [];
    return undefined;
  }

  /** Lanes beyond those that are compared come to be compared next time. */
  #firstOf(owner: string): Lane | undefined {
    const lanes = this.#lanes.get(owner) ?? new Set();
    let best: Lane | undefined;
    const seen: Lane[] = [];
    for (const lane of lanes) {
      if (lane.line.size === 0 || lane.quotaBlocked || lane.heldBack || lane.group.roomBlocked) {
        this.delete(lane);
        continue;
      }
      best = best === undefined ? lane : earlier(best, lane);
      seen.push(lane);
      if (seen.length === MAX_LANES) break;
    }
    if (seen.length < lanes.size) {
      for (const lane of seen) if (lane !== best) lanes.delete(lane);
      for (const lane of seen) lanes.add(lane);
    }
    return best;
  }

  #askLast(): void {
    let asked = 0;
    for (const owner of this.#last) {
      asked += 1;
      if (asked > MAX_LAST) return;
      this.#last.delete(owner);
      if (this.#options.overSoft(owner)) this.#last.add(owner);
      else this.#stand(owner);
    }
  }

  #stand(owner: string): void {
    const now = this.#turnOf(owner);
    const known = this.#turns.get(owner);
    if (known === undefined || before(now, known)) this.#push(now);
  }

  #turnOf(owner: string): Turn {
    return { owner, last: this.#options.overSoft(owner), clock: this.#options.clock(owner) };
  }

  #push(turn: Turn): void {
    this.#turns.set(turn.owner, turn);
    if (turn.last) this.#last.add(turn.owner);
    const heap = this.#heap;
    let at = heap.length;
    heap.push(turn);
    while (at > 0) {
      const above = (at - 1) >>> 1;
      const other = heap[above];
      if (other === undefined || !before(turn, other)) break;
      heap[at] = other;
      at = above;
    }
    heap[at] = turn;
  }

  #pop(): void {
    const heap = this.#heap;
    const turn = heap.pop();
    if (turn === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      const [left, right] = [heap[below], heap[below + 1]];
      if (left === undefined) break;
      if (right !== undefined && before(right, left)) below += 1;
      const least = heap[below];
      if (least === undefined || !before(least, turn)) break;
      heap[at] = least;
      at = below;
    }
    heap[at] = turn;
  }
}

function before(a: Turn, b: Turn): boolean {
  return a.last === b.last ? a.clock < b.clock : b.last;
}

import type { AccountHold } from '../../resource/accounts/account.ts';
import type { Want } from '../../resource/pool/types.ts';
import type { WantClass } from '../../resource/pool/want-class.ts';
import { comesBefore, Line, type Placed } from './line.ts';

/** Something that waits for room: a task, or an allocation. */
export interface Item extends Placed {
  /** Unique in the namespace: "task/<id>" or "alloc/<id>". */
  readonly key: string;
  readonly kind: 'task' | 'allocation';
  readonly id: string;
  readonly owner: string;
  readonly want: Want;
  readonly hold: AccountHold;
  /** Not before this, by the store's clock, milliseconds; 0: at once. */
  readonly notBeforeMs: number;
  /** Agents that are left out, each until a time on the store's clock. */
  readonly refusals: ReadonlyMap<string, number>;
  /** Only one of a key at a time; empty: no order. */
  readonly orderingKey: string;
  /** When it began to wait, by the store's clock. */
  readonly sinceMs: number;
}

/** Of one class, those of one owner that need the same kinds of quotas and budgets. */
export interface Lane {
  readonly group: Group;
  readonly owner: string;
  readonly line: Line<Item>;
  /** Among those of its group. */
  readonly name: string;
  /** A quota or budget stands in the way of its first. */
  quotaBlocked: boolean;
  /** There would be room for it if that were not kept for others. */
  heldBack: boolean;
}

/** All that want the same. */
export interface Group {
  readonly class: WantClass;
  readonly want: Want;
  readonly lanes: Map<string, Lane>;
  /** No agent has room for any of it. */
  roomBlocked: boolean;
  /** Since when, by the store's clock. */
  roomBlockedMs: number;
  /** Some of its lanes are held back. */
  holdsBack: boolean;
}

interface KeyLine {
  line: Line<Item>;
  /** What stands in the line, by key. */
  places: Map<string, Item>;
  /** Tasks of the key that an agent has. */
  live: Set<string>;
}

interface WantClasses {
  classOf(want: Want): WantClass;
  release(wanted: WantClass): void;
}

const ONLY_ORDER = 0;

/**
 * What waits in one namespace: by what it wants, by owner, in order. What cannot be placed yet for a reason of its own (its
 * turn after a failure, an earlier one of its ordering key) stands apart.
 */
export class Waiting {
  readonly #pool: WantClasses;
  readonly #items = new Map<string, Item>();
  readonly #groups = new Map<WantClass, Group>();
  readonly #byCapability = new Map<string, Set<Group>>();
  readonly #lanesOf = new Map<string, Set<Lane>>();
  readonly #laneOf = new Map<string, Lane>();
  readonly #keys = new Map<string, KeyLine>();
  /** Those that wait for a time, with what they wait for. */
  readonly #parked = new Map<string, number>();
  #soonestMs = Number.POSITIVE_INFINITY;

  constructor(options: { pool: WantClasses }) {
    this.#pool = options.pool;
  }

  get size(): number {
    return this.#items.size;
  }

  get(key: string): Item | undefined {
    return this.#items.get(key);
  }

  all(): IterableIterator<Item> {
    return this.#items.values();
  }

  groups(): IterableIterator<Group> {
    return this.#groups.values();
  }

  groupsFor(capability: string): Iterable<Group> {
    return this.#byCapability.get(capability) ?? [];
  }

  lanesOf(owner: string): Iterable<Lane> {
    return this.#lanesOf.get(owner) ?? [];
  }

  lanes(): Lane[] {
    return [...this.#lanesOf.values()].flatMap((lanes) => [...lanes]);
  }

  /** Where it stands in line; undefined: it stands apart, or is not here. */
  laneOf(key: string): Lane | undefined {
    return this.#laneOf.get(key);
  }

  groupOfClass(wanted: WantClass): Group | undefined {
    return this.#groups.get(wanted);
  }

  groupOf(want: Want): Group | undefined {
    const wanted = this.#pool.classOf(want);
    const group = this.#groups.get(wanted);
    this.#pool.release(wanted);
    return group;
  }

  /** @returns the lane that it stands in now; undefined: it stands apart */
  put(item: Item, nowMs: number): Lane | undefined {
    this.remove(item.key);
    this.#items.set(item.key, item);
    if (item.orderingKey !== '') this.#standInKey(item);
    return this.#enter(item, nowMs);
  }

  /** One that comes before those of its ordering key that are here already takes the turn of their first. */
  #standInKey(item: Item): void {
    const { line, places } = this.#keyLine(item.orderingKey);
    const before = this.#items.get(line.first()?.key ?? '');
    const place = byOrder(item);
    places.set(item.key, place);
    line.put(place);
    if (before !== undefined && line.first()?.key === item.key) this.#leaveLane(before);
  }

  remove(key: string): void {
    const item = this.#items.get(key);
    if (item === undefined) return;
    this.#items.delete(key);
    this.#parked.delete(key);
    this.#leaveLane(item);
    if (item.orderingKey === '') return;
    const { line, places } = this.#keyLine(item.orderingKey);
    const place = places.get(key);
    if (place !== undefined) line.remove(place);
    places.delete(key);
    this.#tidyKey(item.orderingKey);
  }

  /** Sets one aside until a time, though it stood in line. */
  park(item: Item, untilMs: number): void {
    this.#leaveLane(item);
    this.#setAside(item.key, untilMs);
  }

  #setAside(key: string, untilMs: number): void {
    this.#parked.set(key, untilMs);
    this.#soonestMs = Math.min(this.#soonestMs, untilMs);
  }

  /** Has those whose time has come stand in line again. @returns the lanes concerned */
  unpark(nowMs: number): Lane[] {
    const lanes: Lane[] = [];
    if (nowMs < this.#soonestMs) return lanes;
    const parked = [...this.#parked];
    this.#soonestMs = Number.POSITIVE_INFINITY;
    for (const [key, untilMs] of parked) {
      if (untilMs > nowMs) {
        this.#soonestMs = Math.min(this.#soonestMs, untilMs);
        continue;
      }
      this.#parked.delete(key);
      const item = this.#items.get(key);
      const lane = item && this.#enter(item, nowMs);
      if (lane !== undefined) lanes.push(lane);
    }
    return lanes;
  }

  /** Has one that was set aside stand in line again before its time. @returns its lane; undefined: it stands apart all the same */
  resume(key: string, nowMs: number): Lane | undefined {
    this.#parked.delete(key);
    const item = this.#items.get(key);
    return item && this.#enter(item, nowMs);
  }

  /** An agent has this one of an ordering key now, or has it no more. @returns the lane of the one whose turn it is then */
  setLive(orderingKey: string, key: string, isLive: boolean, nowMs: number): Lane | undefined {
    const keyLine = this.#keyLine(orderingKey);
    if (isLive) {
      keyLine.live.add(key);
      const first = keyLine.line.first();
      if (first !== undefined) this.#leaveLane(this.#items.get(first.key) ?? first);
      return undefined;
    }
    keyLine.live.delete(key);
    const first = this.#items.get(keyLine.line.first()?.key ?? '');
    this.#tidyKey(orderingKey);
    return first === undefined ? undefined : this.#enter(first, nowMs);
  }

  /** The one that has to end first; undefined: nothing of its ordering key stands in its way. */
  keyHolder(item: Item): string | undefined {
    if (item.orderingKey === '') return undefined;
    const keyLine = this.#keys.get(item.orderingKey);
    if (keyLine === undefined) return undefined;
    for (const live of keyLine.live) if (live !== item.key) return live;
    const first = keyLine.line.first();
    return first === undefined || first.key === item.key ? undefined : first.key;
  }

  #enter(item: Item, nowMs: number): Lane | undefined {
    if (item.notBeforeMs > nowMs) {
      this.#setAside(item.key, item.notBeforeMs);
      return undefined;
    }
    if (this.#laneOf.has(item.key)) return this.#laneOf.get(item.key);
    if (this.keyHolder(item) !== undefined) return undefined;
    const lane = this.#lane(item);
    lane.line.put(item);
    this.#laneOf.set(item.key, lane);
    // What stood in the way of the one that was first may not stand in its way.
    if (lane.line.first() === item) unblockLane(lane);
    return lane;
  }

  #lane(item: Item): Lane {
    const wanted = this.#pool.classOf(item.want);
    let group = this.#groups.get(wanted);
    if (group === undefined) {
      const blocked = { roomBlocked: false, roomBlockedMs: 0, holdsBack: false };
      group = { class: wanted, want: item.want, lanes: new Map(), ...blocked };
      this.#groups.set(wanted, group);
      add(this.#byCapability, item.want.capability, group);
    } else this.#pool.release(wanted);
    const name = laneName(item);
    let lane = group.lanes.get(name);
    if (lane === undefined) {
      lane = {
        ...{ group, name, owner: item.owner, line: new Line() },
        quotaBlocked: false,
        heldBack: false,
      };
      group.lanes.set(name, lane);
      add(this.#lanesOf, item.owner, lane);
    }
    return lane;
  }

  #leaveLane(item: Item): void {
    const lane = this.#laneOf.get(item.key);
    if (lane === undefined) return;
    this.#laneOf.delete(item.key);
    const stood = lane.line.first();
    lane.line.remove(item);
    if (stood === item) unblockLane(lane);
    if (lane.line.size > 0) return;
    const { group } = lane;
    group.lanes.delete(lane.name);
    remove(this.#lanesOf, lane.owner, lane);
    if (group.lanes.size > 0) return;
    this.#groups.delete(group.class);
    remove(this.#byCapability, group.want.capability, group);
    this.#pool.release(group.class);
  }

  #keyLine(orderingKey: string): KeyLine {
    let keyLine = this.#keys.get(orderingKey);
    if (keyLine === undefined) {
      keyLine = { line: new Line(), places: new Map(), live: new Set() };
      this.#keys.set(orderingKey, keyLine);
    }
    return keyLine;
  }

  #tidyKey(orderingKey: string): void {
    const keyLine = this.#keys.get(orderingKey);
    if (keyLine !== undefined && keyLine.line.size === 0 && keyLine.live.size === 0) {
      this.#keys.delete(orderingKey);
    }
  }
}

/**
 * What one waits for must not stand before others that do not need it: its kind of hold is part of its lane. Amounts count by
 * powers of two, so that there are few lanes.
 */
function laneName({ owner, hold }: Item): string {
  const names = Object.keys(hold.budgets);
  if (names.length === 0) return `${hold.tasks}\n${owner}`;
  const budgets = names
    .sort()
    .map((name) => `${name}=${Math.ceil(Math.log2((hold.budgets[name] ?? 0) + 1))}`);
  return `${hold.tasks}\n${owner}\n${budgets.join('\n')}`;
}

/** In an ordering key only the order of submission counts. */
const byOrder = (item: Item): Item => ({ ...item, rank: ONLY_ORDER });

/** Which of two lanes' first comes first. */
export const earlier = (a: Lane, b: Lane): Lane => {
  const [x, y] = [a.line.first(), b.line.first()];
  if (x === undefined) return b;
  return y === undefined || comesBefore(x, y) ? a : b;
};

function unblockLane(lane: Lane): void {
  lane.quotaBlocked = false;
  lane.heldBack = false;
}

function add<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([value]));
  else set.add(value);
}

function remove<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const set = sets.get(key);
  set?.delete(value);
  if (set?.size === 0) sets.delete(key);
}

import type { WaitingTask } from './fleet.ts';
import type { FleetModel } from './fleet-model.ts';

interface Spot {
  waiting: WaitingTask;
  /** An agent that it would fit on if nothing else that waits were there. */
  agentId: string;
}

/** Waiting tasks that are looked at. */
const MAX_WAITING = 64;

/** Sees to it that moves take nothing from tasks that wait: the room that they will get, and a place for each that had one. */
export class WaitingLine {
  readonly #model: FleetModel;
  readonly #spots: Spot[] = [];
  /** Keys of what is reserved for those that wait, by agent. */
  readonly #reserved = new Map<string, string[]>();

  constructor(model: FleetModel) {
    this.#model = model;
  }

  /** Reserves room for those that find some, in order. @returns the others */
  reserve(): WaitingTask[] {
    const waiting = this.#model.fleet.waiting.slice(0, MAX_WAITING);
    for (const each of waiting) {
      const agentId = this.#choose(each);
      if (agentId !== undefined) this.#spots.push({ waiting: each, agentId });
    }
    const left: WaitingTask[] = [];
    for (const each of waiting) {
      const agentId = this.#choose(each);
      if (agentId === undefined) left.push(each);
      else this.#take(each, agentId);
    }
    // From now on it takes room and is of no group: it is not there yet.
    for (const keys of this.#reserved.values()) for (const key of keys) this.#model.ungroup(key);
    return left;
  }

  /** Room was made for one. */
  keep(waiting: WaitingTask, agentId: string): void {
    if (!this.#spots.some((spot) => spot.waiting === waiting)) this.#spots.push({ waiting, agentId });
    this.#take(waiting, agentId);
    this.#model.ungroup(keyOf(waiting));
  }

  /** Whether each that had a place still has one. */
  holds(): boolean {
    return this.#spots.every((spot) => {
      const { want } = spot.waiting;
      const keys = this.#reserved.get(spot.agentId) ?? [];
      if (this.#model.without(keys, () => this.#model.fits(want, spot.agentId))) return true;
      const agentId = this.#choose(spot.waiting);
      if (agentId !== undefined) spot.agentId = agentId;
      return agentId !== undefined;
    });
  }

  #choose({ want, exclude }: WaitingTask): string | undefined {
    return this.#model.choose(want, new Set([...exclude, ...this.#model.fleet.keptFree]));
  }

  #take(waiting: WaitingTask, agentId: string): void {
    const key = keyOf(waiting);
    this.#model.reserve(key, waiting.want, agentId);
    const keys = this.#reserved.get(agentId);
    if (keys === undefined) this.#reserved.set(agentId, [key]);
    else keys.push(key);
  }
}

const keyOf = ({ id }: WaitingTask): string => `waiting/${id}`;

import type { Clock } from '../../lib/clock.ts';
import { type TimingWheel, type WheelTask, wheelLink } from '../../lib/timing-wheel.ts';
import { type SelfWatch, silenceMs } from './observer.ts';

/** An agent whose session is gone and who may come back. */
export interface Absence {
  namespace: string;
  agentId: string;
  epoch: bigint;
  /** Since when it is silent, monotonic milliseconds. */
  sinceMs: number;
  /** How long it may stay away. */
  graceMs: number;
  /** "reconnect_grace" or "orphaned". */
  rule: string;
}

export interface AbsencesOptions {
  clock: Clock;
  wheel: TimingWheel;
  self: SelfWatch;
  /** The grace is over, without the time in which this replica stood still. */
  onOver(absence: Absence): void;
}

/** How soon it is looked again whether the store is back. */
const STORE_AWAY_MS = 1000;

/** Waits for agents to come back; a stall of our own lengthens the wait. */
export class Absences {
  readonly #options: AbsencesOptions;
  readonly #tasks = new Map<string, WheelTask & { absence: Absence }>();

  constructor(options: AbsencesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#tasks.size;
  }

  get(namespace: string, agentId: string): Absence | undefined {
    return this.#tasks.get(`${namespace}/${agentId}`)?.absence;
  }

  /** How long is left, milliseconds; undefined if the agent is not awaited. */
  remainingMs(namespace: string, agentId: string, nowMs: number): number | undefined {
    const absence = this.get(namespace, agentId);
    if (absence === undefined) return undefined;
    return Math.max(0, absence.graceMs - silenceMs(this.#options.self, absence.sinceMs, nowMs));
  }

  begin(absence: Absence): void {
    const key = `${absence.namespace}/${absence.agentId}`;
    this.end(absence.namespace, absence.agentId);
    const { wheel, self } = this.#options;
    const task = {
      absence,
      wheel: wheelLink(),
      due: (nowMs: number): void => {
        const left = absence.graceMs - silenceMs(self, absence.sinceMs, nowMs);
        // Without the store nobody could come back.
        if (left > 0 || !self.storeAvailable()) {
          wheel.schedule(task, nowMs + (left > 0 ? left : STORE_AWAY_MS));
          return;
        }
        this.#tasks.delete(key);
        this.#options.onOver(absence);
      },
    };
    this.#tasks.set(key, task);
    wheel.schedule(task, absence.sinceMs + absence.graceMs);
  }

  /** The agent is back, gone for good, or looked after by another replica. */
  end(namespace: string, agentId: string): void {
    const key = `${namespace}/${agentId}`;
    const task = this.#tasks.get(key);
    if (task === undefined) return;
    this.#options.wheel.cancel(task);
    this.#tasks.delete(key);
  }
}

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
  /** It was sent away: staying away is no failure of its own. */
  blameless?: boolean;
}

export interface AbsencesOptions {
  clock: Clock;
  wheel: TimingWheel;
  self: SelfWatch;
  /** The grace is over, without the time in which this replica stood still. */
  onOver(absence: Absence): void;
}

/** How often it is looked whether the store is there. */
const LOOK_MS = 500;

/**
 * Waits for agents to come back. A stall of our own lengthens the wait, and after an outage of the store it begins
 * anew: nobody could attach meanwhile, however hard he tried.
 */
export class Absences {
  readonly #options: AbsencesOptions;
  readonly #tasks = new Map<string, WheelTask & { absence: Absence }>();
  /** Looks after the store as long as somebody is awaited. */
  readonly #look: WheelTask = { wheel: wheelLink(), due: (nowMs) => this.#lookAtStore(nowMs) };
  /** When the store was last seen to be away, monotonic milliseconds. */
  #awayMs = -Infinity;

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
    return Math.max(0, this.#leftMs(absence, nowMs));
  }

  begin(absence: Absence): void {
    const key = `${absence.namespace}/${absence.agentId}`;
    this.end(absence.namespace, absence.agentId);
    const { wheel, clock } = this.#options;
    if (this.#tasks.size === 0) this.#lookAtStore(clock.monoMs());
    const task = {
      absence,
      wheel: wheelLink(),
      due: (nowMs: number): void => {
        this.#lookAtStore(nowMs);
        const left = this.#leftMs(absence, nowMs);
        if (left > 0) {
          wheel.schedule(task, nowMs + left);
          return;
        }
        this.#tasks.delete(key);
        if (this.#tasks.size === 0) wheel.cancel(this.#look);
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
    if (this.#tasks.size === 0) this.#options.wheel.cancel(this.#look);
  }

  #leftMs(absence: Absence, nowMs: number): number {
    return absence.graceMs - silenceMs(this.#options.self, Math.max(absence.sinceMs, this.#awayMs), nowMs);
  }

  #lookAtStore(nowMs: number): void {
    const { self, wheel } = this.#options;
    if (!self.storeAvailable()) this.#awayMs = nowMs;
    wheel.schedule(this.#look, nowMs + LOOK_MS);
  }
}

import type { Clock } from './clock.ts';

/** Something that can be due. Intrusive: a task is in the wheel at most once, and moving it allocates nothing. */
export interface WheelTask {
  /** Called when due, at most one tick late unless the process stood still. */
  due(nowMs: number): void;
  /** Owned by the wheel. */
  wheel: WheelLink;
}

/** A task's place in the wheel; create it with `wheelLink()`. */
export interface WheelLink {
  atMs: number;
  slot: number;
  previous: WheelTask | undefined;
  next: WheelTask | undefined;
}

export const wheelLink = (): WheelLink => ({ atMs: 0, slot: -1, previous: undefined, next: undefined });

export interface TimingWheelOptions {
  clock: Clock;
  /** Resolution, milliseconds. */
  tickMs: number;
  /** Slots; tasks farther away than slots × tickMs are passed over once a turn. */
  slots: number;
  /** A tick that comes this much too late is only noted: sockets are read before anything is judged. */
  stallMs: number;
  /** Called with the length of a stall, in milliseconds. */
  onStall?: (stallMs: number, nowMs: number) => void;
  /** Called when a task throws; the others go on. */
  onError: (error: unknown) => void;
}

/**
 * A hashed timing wheel (Varghese and Lauck, 1987): one timer for every deadline of every session.
 * Times are monotonic milliseconds of the clock that was passed in.
 */
export class TimingWheel {
  readonly #options: TimingWheelOptions;
  readonly #heads: (WheelTask | undefined)[];
  #lastTick: number;
  /** Number of the last tick that was worked off. */
  #tick: number;
  #timer: NodeJS.Timeout | undefined;
  #size = 0;
  #deferred = false;

  constructor(options: TimingWheelOptions) {
    this.#options = options;
    this.#heads = new Array<WheelTask | undefined>(options.slots).fill(undefined);
    this.#lastTick = options.clock.monoMs();
    this.#tick = Math.floor(this.#lastTick / options.tickMs);
  }

  get size(): number {
    return this.#size;
  }

  start(): void {
    this.#lastTick = this.#options.clock.monoMs();
    this.#timer = setInterval(() => this.advance(), this.#options.tickMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Makes `task` due at `atMs`; a task that is in the wheel moves. */
  schedule(task: WheelTask, atMs: number): void {
    const link = task.wheel;
    if (link.slot >= 0) this.#unlink(task);
    link.atMs = atMs;
    const tick = Math.max(this.#tick + 1, Math.ceil(atMs / this.#options.tickMs));
    const slot = tick % this.#options.slots;
    const head = this.#heads[slot];
    link.slot = slot;
    link.previous = undefined;
    link.next = head;
    if (head !== undefined) head.wheel.previous = task;
    this.#heads[slot] = task;
    this.#size += 1;
  }

  cancel(task: WheelTask): void {
    if (task.wheel.slot >= 0) this.#unlink(task);
  }

  /** Works off what is due; the timer calls it, and tests with a fake clock do. */
  advance(): void {
    const { clock, tickMs, slots, stallMs, onStall } = this.#options;
    const now = clock.monoMs();
    const late = now - this.#lastTick - tickMs;
    this.#lastTick = now;
    if (late >= stallMs && !this.#deferred) {
      this.#deferred = true;
      onStall?.(late, now);
      return;
    }
    this.#deferred = false;
    const target = Math.floor(now / tickMs);
    const turns = Math.min(target - this.#tick, slots);
    const first = target - turns + 1;
    this.#tick = target;
    for (let tick = first; tick <= target; tick += 1) this.#run(tick % slots, now);
  }

  #run(slot: number, now: number): void {
    let task = this.#heads[slot];
    while (task !== undefined) {
      const next: WheelTask | undefined = task.wheel.next;
      if (task.wheel.atMs <= now) {
        this.#unlink(task);
        try {
          task.due(now);
        } catch (error) {
          this.#options.onError(error);
        }
        // The task may have moved its neighbour: begin again if the chain was cut.
        task = next !== undefined && next.wheel.slot !== slot ? this.#heads[slot] : next;
      } else {
        task = next;
      }
    }
  }

  #unlink(task: WheelTask): void {
    const link = task.wheel;
    if (link.previous !== undefined) link.previous.wheel.next = link.next;
    else this.#heads[link.slot] = link.next;
    if (link.next !== undefined) link.next.wheel.previous = link.previous;
    link.slot = -1;
    link.previous = undefined;
    link.next = undefined;
    this.#size -= 1;
  }
}

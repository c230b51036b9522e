import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock } from './clock.ts';
import { type DelayHistogram, RollingDelays } from './rolling-delays.ts';
import { StallLog } from './stall-log.ts';

const RESOLUTION_MS = 20;
const WINDOW_MS = 1_000;
const WINDOWS = 10;
/** The wall clock running ahead of the monotonic one by this much: the machine slept (or its clock was set). */
const SUSPEND_MS = 1_000;

export interface EventLoopMonitorOptions {
  clock: Clock;
  /** How often the process looks whether it still runs, milliseconds; default 50. */
  tickMs?: number;
  /** A tick later than this is a stall, milliseconds; default 50. */
  stallThresholdMs?: number;
  /** Called for each stall, after it. */
  onStall?: (stallMs: number) => void;
  /** For tests; without them the process itself is measured. */
  histogram?: DelayHistogram;
  /** CPU time of the process so far, milliseconds. */
  cpuTimeMs?: () => number;
  rssBytes?: () => number;
}

/** The condition of this process over the last ten seconds. */
export interface LoopReading {
  delayP99Ms: number;
  delayMaxMs: number;
  /** CPU cores kept busy, 1.5 for one and a half. */
  cpuCores: number;
  /** Resident memory now. */
  rssBytes: number;
}

/**
 * Watches the process itself, so that it doubts itself before it doubts others: event-loop delay, CPU, memory, and
 * when it stood still (a long computation, SIGSTOP, a machine without CPU or asleep). Two timers of its own, unref'd.
 */
export class EventLoopMonitor {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #thresholdMs: number;
  readonly #onStall: ((stallMs: number) => void) | undefined;
  readonly #native: { enable(): unknown; disable(): unknown } | undefined;
  readonly #delays: RollingDelays;
  readonly #stalls = new StallLog();
  readonly #cpuTimeMs: () => number;
  readonly #rssBytes: () => number;
  /** CPU time at the start of each window, oldest first. */
  #cpu: { atMs: number; cpuMs: number }[] = [];
  #lastMs: number;
  #lastWallMs: number;
  #windowStartMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: EventLoopMonitorOptions) {
    this.#clock = options.clock;
    this.#tickMs = options.tickMs ?? 50;
    this.#thresholdMs = options.stallThresholdMs ?? 50;
    this.#onStall = options.onStall;
    let histogram = options.histogram;
    if (histogram === undefined) {
      const native = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
      this.#native = native;
      histogram = native;
    }
    this.#delays = new RollingDelays({ histogram, resolutionMs: RESOLUTION_MS, windows: WINDOWS });
    this.#cpuTimeMs = options.cpuTimeMs ?? processCpuMs;
    this.#rssBytes = options.rssBytes ?? process.memoryUsage.rss;
    this.#lastMs = this.#clock.monoMs();
    this.#lastWallMs = this.#clock.wallMs();
    this.#windowStartMs = this.#lastMs;
    this.#cpu.push({ atMs: this.#lastMs, cpuMs: this.#cpuTimeMs() });
  }

  start(): void {
    if (this.#timer !== undefined) return;
    this.#lastMs = this.#clock.monoMs();
    this.#lastWallMs = this.#clock.wallMs();
    this.#native?.enable();
    this.#timer = setInterval(() => this.tick(), this.#tickMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#native?.disable();
  }

  /** Looks at the clock; the timer calls it, and tests with a fake clock do. */
  tick(): void {
    const now = this.#clock.monoMs();
    const wall = this.#clock.wallMs();
    const lateMs = now - this.#lastMs - this.#tickMs;
    const sleptMs = wall - this.#lastWallMs - (now - this.#lastMs);
    if (sleptMs >= SUSPEND_MS) {
      // The monotonic clock may have stood still meanwhile: nothing measured across this tick is worth anything.
      this.#stalled(this.#lastMs, now);
    } else if (lateMs > this.#thresholdMs) {
      this.#stalled(this.#lastMs + this.#tickMs, now);
    }
    this.#lastMs = now;
    this.#lastWallMs = wall;
    if (now - this.#windowStartMs >= WINDOW_MS) this.#roll(now);
  }

  /** How long this process stood still between two instants of the monotonic clock, milliseconds. */
  stallMs(fromMs: number, toMs: number): number {
    const past = this.#stalls.overlapMs(fromMs, toMs);
    // Overdue right now: the stall goes on, or has just ended and the timer has not run yet.
    const dueMs = this.#lastMs + this.#tickMs;
    return toMs - dueMs > this.#thresholdMs ? past + toMs - Math.max(dueMs, fromMs) : past;
  }

  /** The same from an instant until now. */
  stallMsSince(fromMs: number): number {
    return this.stallMs(fromMs, this.#clock.monoMs());
  }

  /** All stalls so far, milliseconds. */
  totalStallMs(): number {
    return this.#stalls.totalMs;
  }

  /** The longest event-loop delay in the last ten seconds, milliseconds. */
  eventLoopDelayMs(): number {
    return Math.max(this.#delays.maxMs(), this.#clock.monoMs() - this.#lastMs - this.#tickMs);
  }

  reading(): LoopReading {
    const now = this.#clock.monoMs();
    const first = this.#cpu[0];
    const elapsedMs = first === undefined ? 0 : now - first.atMs;
    const busyMs = first === undefined ? 0 : this.#cpuTimeMs() - first.cpuMs;
    return {
      delayP99Ms: this.#delays.p99Ms(),
      delayMaxMs: this.eventLoopDelayMs(),
      cpuCores: elapsedMs > 0 ? busyMs / elapsedMs : 0,
      rssBytes: this.#rssBytes(),
    };
  }

  #stalled(fromMs: number, toMs: number): void {
    this.#stalls.add(fromMs, toMs);
    this.#delays.note(toMs - fromMs);
    this.#onStall?.(toMs - fromMs);
  }

  #roll(now: number): void {
    this.#delays.roll();
    this.#windowStartMs = now;
    this.#cpu.push({ atMs: now, cpuMs: this.#cpuTimeMs() });
    if (this.#cpu.length > WINDOWS) this.#cpu.shift();
  }
}

function processCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

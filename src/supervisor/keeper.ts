import type { Clock } from '../lib/clock.ts';
import { afterRun, endWords, exitCodeOf, type RestartPolicy, type RunEnd } from './policy.ts';
import { CannotStart, clearGroup, type Run } from './run.ts';

/** Why a program that is down, or that will be once it ends, is not started again until told so. */
export type Hold = 'drain' | 'quarantine' | 'dependency';

export interface KeptExit extends RunEnd {
  /** Which of the starts this ended, counted from 1. */
  start: number;
  /** Whether it was told to end. */
  requested: boolean;
  lines: string[];
}

export interface KeeperState {
  phase: 'running' | 'backoff' | 'stopped';
  /** 0: it does not run. */
  pid: number;
  starts: number;
  /** The last ones, newest last. */
  exits: readonly KeptExit[];
  /** With `backoff`: milliseconds. */
  restartInMs: number | undefined;
  hold: Hold | undefined;
}

/** How the supervision ended. */
export interface KeeperEnd {
  why: 'finished' | 'restarts_used_up' | 'told';
  /** What the supervisor's own exit code should be. */
  exitCode: number;
}

/** What was asked for cannot be done now. */
export class Refused extends Error {
  override readonly name = 'Refused';
}

/** As ProcessReport.exits takes them. */
const maxExits = 4;

/** Keeps one program running: starts it, starts it again by the policy, holds it down and lets it go on. */
export class Keeper {
  /** Resolves when the program has ended for good. */
  readonly done: Promise<KeeperEnd>;
  readonly #options: KeeperOptions;
  readonly #exits: KeptExit[] = [];
  readonly #told = new WeakSet<Run>();
  readonly #starting = new Set<{ resolve: () => void; reject: (error: Error) => void }>();
  #finish: (end: KeeperEnd) => void = () => {};
  #run: Run | undefined;
  #over: Promise<void> = Promise.resolve();
  #launching: Promise<void> | undefined;
  #starts = 0;
  /** In a row, for the backoff. */
  #restarts = 0;
  #hold: Hold | undefined;
  #ending = false;
  #timer: NodeJS.Timeout | undefined;
  #dueMs: number | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#hold = options.hold;
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  get state(): KeeperState {
    const restartInMs =
      this.#dueMs === undefined ? undefined : Math.max(0, this.#dueMs - this.#options.clock.monoMs());
    return {
      phase: this.#run !== undefined ? 'running' : this.#dueMs !== undefined ? 'backoff' : 'stopped',
      pid: this.#run?.pid ?? 0,
      starts: this.#starts,
      exits: this.#exits,
      restartInMs,
      hold: this.#hold,
    };
  }

  /** The first start, unless it is held down. Rejects with CannotStart. */
  async begin(): Promise<void> {
    if (this.#hold !== undefined) return this.#options.onChange();
    await this.#launch();
  }

  /** Passes a signal on to the program; false if it does not run. */
  signal(signal: NodeJS.Signals): boolean {
    return this.#run?.signal(signal) ?? false;
  }

  /** Kills all of it at once. */
  kill(): void {
    this.#run?.signalGroup('SIGKILL');
  }

  /** Ends the run and starts the next one at once. Rejects with Refused or CannotStart. */
  async restart(): Promise<{ pid: number; starts: number }> {
    await this.#launching;
    if (this.#hold !== undefined) throw new Refused(`it is held down (${this.#hold}): resume it first`);
    if (this.#ending) throw new Refused('it is being stopped');
    const started = new Promise<void>((resolve, reject) => this.#starting.add({ resolve, reject }));
    if (this.#run === undefined) this.#launchNow();
    else void this.#end(this.#run, 'SIGTERM', this.#options.stopTimeoutMs);
    await started;
    return { pid: this.#run?.pid ?? 0, starts: this.#starts };
  }

  /** Has it finish; resolves when it has ended. It stays down until `resume`. */
  async drain(): Promise<void> {
    await this.#holdDown('drain');
    if (this.#run !== undefined) await this.#end(this.#run, this.#options.drainSignal, undefined);
  }

  /** It is not started again until `resume`; what runs goes on, unless it is to be stopped. */
  async quarantine(stops: boolean): Promise<void> {
    await this.#holdDown('quarantine');
    if (stops && this.#run !== undefined) {
      await this.#end(this.#run, 'SIGTERM', this.#options.stopTimeoutMs);
    }
  }

  /** Down for as long as what it needs is lost. */
  async dependencyLost(): Promise<void> {
    await this.#holdDown('dependency');
    if (this.#run !== undefined) await this.#end(this.#run, 'SIGTERM', this.#options.stopTimeoutMs);
  }

  async dependencyRecovered(): Promise<void> {
    if (this.#hold === 'dependency') await this.resume();
  }

  /** Nothing holds it down any more: started at once if it is down, and with a fresh backoff. */
  async resume(): Promise<void> {
    await this.#launching;
    this.#hold = undefined;
    this.#restarts = 0;
    if (this.#run === undefined && !this.#ending) {
      const started = new Promise<void>((resolve, reject) => this.#starting.add({ resolve, reject }));
      this.#launchNow();
      await started;
    } else this.#options.onChange();
  }

  /** Ends it for good. `exitCode`: the supervisor's; undefined: as the program ends. */
  async stop(options: { signal: NodeJS.Signals; timeoutMs: number; exitCode?: number }): Promise<void> {
    this.#ending = true;
    await this.#launching;
    this.#cancelRestart();
    this.#notStarted(new Refused('it is being stopped'));
    if (this.#run !== undefined) await this.#end(this.#run, options.signal, options.timeoutMs);
    const last = this.#exits.at(-1);
    this.#finish({
      why: 'told',
      exitCode: options.exitCode ?? (last === undefined ? 0 : exitCodeOf(last)),
    });
  }

  async #holdDown(hold: Hold): Promise<void> {
    await this.#launching;
    if (this.#ending) throw new Refused('it is being stopped');
    if (this.#hold !== hold) this.#options.note(`is held down (${hold}): not started until it is resumed`);
    this.#hold = hold;
    this.#cancelRestart();
    this.#notStarted(new Refused(`it is held down (${hold})`));
    this.#options.onChange();
  }

  #cancelRestart(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dueMs = undefined;
  }

  /** Asks a run to end, kills all of it after `timeoutMs`, and resolves when nothing of it is left. */
  async #end(run: Run, signal: NodeJS.Signals, timeoutMs: number | undefined): Promise<void> {
    this.#told.add(run);
    const over = this.#over;
    run.signal(signal);
    const kill =
      timeoutMs === undefined ? undefined : setTimeout(() => run.signalGroup('SIGKILL'), timeoutMs);
    await over;
    clearTimeout(kill);
  }

  #launchNow(): void {
    this.#launch().catch((error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      const exitCode = error instanceof CannotStart ? error.exitCode : 126;
      this.#starts++;
      this.#keep({ exitCode, signal: '', ranMs: 0 }, false, [message]);
      this.#notStarted(error instanceof Error ? error : new Error(message));
      this.#after(this.#exits.at(-1) ?? { exitCode, signal: '', ranMs: 0 });
    });
  }

  async #launch(): Promise<void> {
    this.#cancelRestart();
    const launching = this.#options.start();
    this.#launching = launching.then(
      () => {},
      () => {},
    );
    try {
      const run = await launching;
      this.#starts++;
      this.#run = run;
      this.#over = this.#live(run, this.#starts);
    } finally {
      this.#launching = undefined;
    }
    for (const waiting of this.#starting) waiting.resolve();
    this.#starting.clear();
    this.#options.note(`started (pid ${this.#run?.pid}, start ${this.#starts})`);
    this.#options.onChange();
  }

  async #live(run: Run, start: number): Promise<void> {
    const end = await run.ended;
    await clearGroup(run, { clock: this.#options.clock, stopTimeoutMs: this.#options.stopTimeoutMs });
    this.#run = undefined;
    const requested = this.#told.has(run);
    this.#keep(end, requested, run.lines(), start);
    if (this.#ending) return; // `stop` finishes
    if (!requested) this.#after(end);
    else if (this.#hold === undefined) this.#launchNow();
    else this.#down(end);
  }

  #keep(end: RunEnd, requested: boolean, lines: string[], start = this.#starts): void {
    this.#exits.push({ ...end, start, requested, lines });
    if (this.#exits.length > maxExits) this.#exits.shift();
  }

  #down(end: RunEnd): void {
    this.#options.note(`ended (${endWords(end)}), and stays down (${this.#hold}) until it is resumed`);
    this.#options.onChange();
  }

  #after(end: RunEnd): void {
    if (this.#ending) return;
    const { policy, random, clock, note, onChange } = this.#options;
    const next = afterRun(policy, end, this.#restarts, random);
    if (next.kind === 'done') {
      note(`ended (${endWords(end)}), ${next.why === 'finished' ? 'and is done' : 'no restart is left'}`);
      this.#ending = true;
      onChange();
      this.#finish({ why: next.why, exitCode: exitCodeOf(end) });
      return;
    }
    this.#restarts = next.restarts;
    if (this.#hold !== undefined) {
      this.#down(end);
      return;
    }
    note(`ended (${endWords(end)}), is started again in ${(next.inMs / 1_000).toFixed(1)} s`);
    this.#dueMs = clock.monoMs() + next.inMs;
    this.#timer = setTimeout(() => this.#launchNow(), next.inMs);
    onChange();
  }

  #notStarted(error: Error): void {
    for (const waiting of this.#starting) waiting.reject(error);
    this.#starting.clear();
  }
}

export interface KeeperOptions {
  start: () => Promise<Run>;
  policy: RestartPolicy;
  /** Between SIGTERM and SIGKILL. */
  stopTimeoutMs: number;
  drainSignal: NodeJS.Signals;
  /** From a supervisor before this one. */
  hold: Hold | undefined;
  clock: Clock;
  random: () => number;
  /** `state` is another one. */
  onChange: () => void;
  /** One line for people. */
  note: (text: string) => void;
}

import type { Clock } from '../../../lib/clock.ts';
import { SinkError } from './ports.ts';

export interface SinkGateOptions {
  clock: Clock;
  random: () => number;
  timeoutMs: number;
  retryMinMs: number;
  retryMaxMs: number;
  /** Of alerts that may be under way at a time. */
  concurrency: number;
  /** Told of each try: what became of it and how long it took. */
  onTry?: ((outcome: 'sent' | 'refused' | 'failed', elapsedMs: number) => void) | undefined;
}

/** How a sink is, as this replica sees it. Times by the wall clock; undefined: never. */
export interface GateStatus {
  healthy: boolean;
  successMs: number | undefined;
  failureMs: number | undefined;
  error: string;
  /** Failed tries in a row. */
  failures: number;
  /** Until the next try; undefined: there is no pause. */
  retryInMs: number | undefined;
  sent: number;
}

/** Alerts never wait for what a feed has to tell, nor for the pauses after its failures. */
export type Lane = 'alerts' | 'feed';

interface LaneState {
  underway: number;
  /** Failed tries in a row. */
  failures: number;
  /** Of these, those for which the sink itself is to blame. */
  down: number;
  retryAtMs: number;
  error: string;
}

const newLane = (): LaneState => ({ underway: 0, failures: 0, down: 0, retryAtMs: 0, error: '' });

/** Of a feed's events that may be under way at a time, one a namespace. */
export const FEED_CONCURRENCY = 2;
/** Share of a pause by which it varies: replicas and sinks do not come back in step. */
const JITTER = 0.2;

interface Attempt {
  startMs: number;
  giveUp(): void;
}

/**
 * Before a sink: bounds what is under way and how long a try may take, and keeps away for a while from one that does not
 * take things, twice as long each time. After a failure a single try shows whether it is back.
 */
export class SinkGate {
  readonly #options: SinkGateOptions;
  readonly #attempts = new Set<Attempt>();
  readonly #lanes: Readonly<Record<Lane, LaneState>> = { alerts: newLane(), feed: newLane() };
  #successMs: number | undefined;
  #failureMs: number | undefined;
  #sent = 0;
  #closed = false;

  constructor(options: SinkGateOptions) {
    this.#options = options;
  }

  /** Whether one more try may begin. */
  open(lane: Lane): boolean {
    const { alerts, feed } = this.#lanes;
    const nowMs = this.#options.clock.monoMs();
    // One that does not take alerts will not take events.
    if (this.#closed || nowMs < alerts.retryAtMs) return false;
    if (lane === 'feed' && nowMs < feed.retryAtMs) return false;
    const { underway, down } = this.#lanes[lane];
    if (down > 0) return underway === 0;
    return underway < (lane === 'alerts' ? this.#options.concurrency : FEED_CONCURRENCY);
  }

  /** Tries once; resolves with why it failed, or with nothing. @param count what is sent with it */
  async attempt(
    lane: Lane,
    count: number,
    send: (signal: AbortSignal) => Promise<void>,
  ): Promise<SinkError | undefined> {
    const { clock, onTry, timeoutMs } = this.#options;
    const controller = new AbortController();
    const startMs = clock.monoMs();
    const failure = await new Promise<unknown>((resolve) => {
      const attempt: Attempt = {
        startMs,
        giveUp: () => {
          controller.abort();
          this.#attempts.delete(attempt);
          // It may be deaf to the signal: nobody waits for it any longer.
          resolve(new SinkError({ message: `no answer within ${timeoutMs} ms` }));
        },
      };
      this.#attempts.add(attempt);
      this.#lanes[lane].underway += 1;
      const end = (error?: unknown): void => {
        this.#attempts.delete(attempt);
        resolve(error);
      };
      // Also what throws before its first await.
      (async () => send(controller.signal))().then(
        () => end(),
        (error: unknown) => end(error ?? new Error('failed')),
      );
    });
    this.#lanes[lane].underway -= 1;
    const elapsedMs = clock.monoMs() - startMs;
    if (failure === undefined) {
      this.#succeeded(lane, count);
      onTry?.('sent', elapsedMs);
      return undefined;
    }
    const error = failure instanceof SinkError ? failure : new SinkError({ message: unexpected(failure) });
    this.#failed(lane, error);
    onTry?.(error.refused ? 'refused' : 'failed', elapsedMs);
    return error;
  }

  /** Gives up tries that take too long. */
  tick(): void {
    const { clock, timeoutMs } = this.#options;
    const nowMs = clock.monoMs();
    for (const attempt of [...this.#attempts]) if (nowMs - attempt.startMs >= timeoutMs) attempt.giveUp();
  }

  /** Lets no try begin any more. */
  stop(): void {
    this.#closed = true;
  }

  /** Gives up all tries, too. */
  close(): void {
    this.stop();
    for (const attempt of [...this.#attempts]) attempt.giveUp();
  }

  status(): GateStatus {
    const { alerts, feed } = this.#lanes;
    const worse = feed.failures > alerts.failures ? feed : alerts;
    const pauseMs = worse.retryAtMs - this.#options.clock.monoMs();
    return {
      ...{ healthy: worse.failures === 0, error: worse.error, failures: worse.failures },
      ...{ successMs: this.#successMs, failureMs: this.#failureMs, sent: this.#sent },
      retryInMs: pauseMs > 0 ? pauseMs : undefined,
    };
  }

  #succeeded(lane: Lane, count: number): void {
    Object.assign(this.#lanes[lane], { failures: 0, down: 0, retryAtMs: 0, error: '' });
    this.#sent += count;
    this.#successMs = this.#options.clock.wallMs();
  }

  #failed(lane: Lane, error: SinkError): void {
    const { clock } = this.#options;
    const state = this.#lanes[lane];
    state.failures += 1;
    state.error = error.message;
    this.#failureMs = clock.wallMs();
    // It answers: what others have to tell may be taken.
    if (error.refused) return;
    state.down += 1;
    const pauseMs = Math.max(this.backoffMs(state.down), error.retryAfterMs ?? 0);
    state.retryAtMs = Math.max(state.retryAtMs, clock.monoMs() + pauseMs);
  }

  /** The pause after so many failures in a row. */
  backoffMs(failures: number): number {
    const { retryMinMs, retryMaxMs, random } = this.#options;
    const pauseMs = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(failures - 1, 30));
    return pauseMs * (1 + JITTER * (random() - 0.5));
  }
}

/** Texts of such errors may hold anything. */
const unexpected = (error: unknown): string =>
  `failed unexpectedly (${error instanceof Error ? error.name : typeof error})`;

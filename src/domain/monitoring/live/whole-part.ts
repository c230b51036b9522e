import type { Message } from '@bufbuild/protobuf';
import type { WatchLiveRequest_Part } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { StoreUnavailableError } from '../../../state/store.ts';
import { MAX_FAILED, mayPass } from './failures.ts';
import type { LiveCase, LiveNews, LivePart, PartContext } from './live-part.ts';

/** Something that is told as a whole. */
export interface Whole {
  value: Message;
  bytes: Uint8Array;
  /** Differs where what it says differs. */
  print: string;
}

export interface WholePartOptions extends PartContext {
  part: WatchLiveRequest_Part;
  case: LiveCase;
  clock: Clock;
  everyMs: number;
  read(): Promise<Whole>;
}

/** Unchanged it is told this often all the same: its reader sees that it is still so. */
const AGAIN_MS = 15_000;

/** Something small that is made anew every few seconds, and told if it changed. A slow reader gets the latest. */
export class WholePart implements LivePart {
  readonly part: WatchLiveRequest_Part;
  readonly #options: WholePartOptions;
  #nextMs = 0;
  #isReading = false;
  #closed = false;
  #ready: Whole | undefined;
  #failure: Error | undefined;
  /** Readings that failed one after the other, of what may pass. */
  #failed = 0;
  #told = '';
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(options: WholePartOptions) {
    this.#options = options;
    this.part = options.part;
  }

  take(): LiveNews | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    const nowMs = this.#options.clock.monoMs();
    const ready = this.#ready;
    this.#ready = undefined;
    if (!this.#isReading && nowMs >= this.#nextMs) this.#read(nowMs);
    if (ready === undefined || (ready.print === this.#told && nowMs - this.#toldMs < AGAIN_MS))
      return undefined;
    this.#told = ready.print;
    this.#toldMs = nowMs;
    const { case: name, json } = this.#options;
    return json ? { case: name, value: ready.value } : { case: name, bytes: ready.bytes };
  }

  dueMs(): number {
    return this.#isReading ? Number.POSITIVE_INFINITY : this.#nextMs;
  }

  close(): void {
    this.#closed = true;
  }

  #read(nowMs: number): void {
    const { read, everyMs, intervalMs, wake } = this.#options;
    this.#isReading = true;
    this.#nextMs = nowMs + Math.max(everyMs, intervalMs);
    read()
      .then(
        (whole) => {
          this.#ready = whole;
          this.#failed = 0;
        },
        (error: unknown) => {
          // What was told stands, with its age; it is asked for again.
          if (error instanceof StoreUnavailableError) return;
          this.#failed += 1;
          if (mayPass(error) && this.#failed < MAX_FAILED) return;
          this.#failure = error instanceof Error ? error : new Error(String(error));
        },
      )
      .finally(() => {
        this.#isReading = false;
        if (!this.#closed) wake();
      })
      .catch(() => {});
  }
}

/** Makes each whole once for all that want it at about the same time. */
export class SharedWholes {
  readonly #clock: Clock;
  readonly #keptMs: number;
  readonly #last = new Map<string, { atMs: number; whole: Promise<Whole> }>();

  constructor(options: { clock: Clock; keptMs: number }) {
    this.#clock = options.clock;
    this.#keptMs = options.keptMs;
  }

  get(key: string, make: () => Promise<Whole>): Promise<Whole> {
    const nowMs = this.#clock.monoMs();
    for (const [old, { atMs }] of this.#last) if (nowMs - atMs >= this.#keptMs) this.#last.delete(old);
    const last = this.#last.get(key);
    if (last !== undefined) return last.whole;
    const whole = make();
    this.#last.set(key, { atMs: nowMs, whole });
    return whole;
  }
}

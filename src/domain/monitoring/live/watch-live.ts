import { create, type DescMessage } from '@bufbuild/protobuf';
import {
  ErrorReason,
  ErrorReasonSchema,
} from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  LiveFaultSchema,
  type WatchLiveRequest_Part,
  type WatchLiveResponse,
  WatchLiveResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { encode } from '../../../lib/encode.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/logger.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { LiveNews, LivePart } from './live-part.ts';
import { delimited } from './wire.ts';

export interface WatchLiveOptions {
  clock: Clock;
  replicaId: string;
  log: Logger;
  json: boolean;
  /** Makes the parts; each calls `wake` when it has something to tell. */
  open(wake: () => void): LivePart[];
}

/** So long one stream may work before others have their turn of the event loop. */
const SLICE_MS = 5;
const WIRE_LENGTH_DELIMITED = 2;

/** Tells of several parts in one stream, in turns: no part waits for more than one message of each other. */
export async function* watchLive(
  options: WatchLiveOptions,
  signal: AbortSignal,
): AsyncGenerator<WatchLiveResponse, void, undefined> {
  const { clock } = options;
  const bell = new Bell(signal, clock);
  const parts = options.open(() => bell.ring());
  let sliceMs = clock.monoMs();
  try {
    for (let turn = 0; !signal.aborted && parts.length > 0; ) {
      const found = next(parts, turn, options.log);
      if (found === undefined) {
        await bell.wait(Math.min(...parts.map((part) => part.dueMs())));
        sliceMs = clock.monoMs();
        continue;
      }
      turn = found.at + 1;
      if (found.fault === undefined) yield response(options, found.news);
      else {
        parts.splice(found.at, 1)[0]?.close();
        yield response(options, { case: 'fault', value: create(LiveFaultSchema, found.fault) });
      }
      if (clock.monoMs() - sliceMs < SLICE_MS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      sliceMs = clock.monoMs();
    }
  } finally {
    for (const part of parts) part.close();
  }
}

type Found =
  | { at: number; news: LiveNews; fault?: undefined }
  | { at: number; fault: { part: WatchLiveRequest_Part; reason: string; message: string } };

/** The first part from `turn` on that has something to tell. @throws DomainError SLOW_CONSUMER */
function next(parts: readonly LivePart[], turn: number, log: Logger): Found | undefined {
  for (let step = 0; step < parts.length; step += 1) {
    const at = (turn + step) % parts.length;
    const part = parts[at];
    if (part === undefined) continue;
    try {
      const news = part.take();
      if (news !== undefined) return { at, news };
    } catch (error) {
      if (error instanceof DomainError) {
        if (error.reason === ErrorReason.SLOW_CONSUMER) throw error;
        return { at, fault: { part: part.part, reason: reasonOf(error.reason), message: error.message } };
      }
      log.error({ err: error, part: part.part }, 'a part of a live stream failed');
      const message = 'this part failed; the log of the replica says why';
      return { at, fault: { part: part.part, reason: reasonOf(ErrorReason.INTERNAL), message } };
    }
  }
  return undefined;
}

const reasonOf = (reason: ErrorReason): string =>
  ErrorReasonSchema.value[reason]?.name.replace(/^ERROR_REASON_/, '') ?? `${reason}`;

function response({ clock, replicaId, json }: WatchLiveOptions, news: LiveNews): WatchLiveResponse {
  const told = create(WatchLiveResponseSchema);
  told.time = timestampFromMs(clock.wallMs());
  told.replicaId = replicaId;
  if ('value' in news && json) {
    told.part = { case: news.case, value: news.value } as WatchLiveResponse['part'];
    return told;
  }
  const { number, schema } = fieldOf(news.case);
  const bytes = 'bytes' in news ? news.bytes : encode(schema, news.value);
  // Written as it stands: encoders pass on fields that they do not know, and readers see the field that it is.
  told.$unknown = [{ no: number, wireType: WIRE_LENGTH_DELIMITED, data: delimited(bytes) }];
  return told;
}

function fieldOf(name: LiveNews['case']): { number: number; schema: DescMessage } {
  const field = WatchLiveResponseSchema.field[name];
  if (field?.fieldKind !== 'message') throw new Error(`${name} is no part of a live stream`);
  return { number: field.number, schema: field.message };
}

/** Wakes one sleeper. */
class Bell {
  readonly #signal: AbortSignal;
  readonly #clock: Clock;
  #rung = false;
  #end: (() => void) | undefined;

  constructor(signal: AbortSignal, clock: Clock) {
    this.#signal = signal;
    this.#clock = clock;
  }

  ring(): void {
    this.#rung = true;
    this.#end?.();
  }

  /** Resolves when it rings (or rang since), at a time of the monotonic clock, or when the caller leaves. */
  async wait(untilMs: number): Promise<void> {
    const forMs = untilMs - this.#clock.monoMs();
    if (!this.#rung && forMs > 0 && !this.#signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = forMs < MAX_TIMER_MS ? setTimeout(() => this.#end?.(), Math.ceil(forMs)) : undefined;
        this.#end = () => {
          this.#end = undefined;
          clearTimeout(timer);
          this.#signal.removeEventListener('abort', abort);
          resolve();
        };
        const abort = (): void => this.#end?.();
        this.#signal.addEventListener('abort', abort, { once: true });
      });
    } else if (!this.#rung) await new Promise((resolve) => setImmediate(resolve));
    this.#rung = false;
  }
}

const MAX_TIMER_MS = 60_000;

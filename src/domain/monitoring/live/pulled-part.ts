import type { Message } from '@bufbuild/protobuf';
import type { WatchLiveRequest_Part } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { StoreUnavailableError } from '../../../state/store.ts';
import { MAX_FAILED, mayPass } from './failures.ts';
import type { LiveCase, LiveNews, LivePart, PartContext } from './live-part.ts';

export interface PulledPartOptions extends PartContext {
  part: WatchLiveRequest_Part;
  case: LiveCase;
  /** The watch of which this part tells; it keeps what it has yet to tell in bounded memory itself. */
  open(signal: AbortSignal): AsyncIterable<Message>;
}

const AGAIN_MS = 1000;

/** A watch of its own as a part: the next message is asked for once the one before was told. */
export class PulledPart implements LivePart {
  readonly part: WatchLiveRequest_Part;
  readonly #options: PulledPartOptions;
  readonly #end = new AbortController();
  #ready: Message | undefined;
  #failure: Error | undefined;
  #taken: (() => void) | undefined;

  constructor(options: PulledPartOptions) {
    this.#options = options;
    this.part = options.part;
    this.#run().catch((error: unknown) => {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      options.wake();
    });
  }

  take(): LiveNews | undefined {
    const ready = this.#ready;
    if (ready === undefined) {
      if (this.#failure !== undefined) throw this.#failure;
      return undefined;
    }
    this.#ready = undefined;
    this.#taken?.();
    return { case: this.#options.case, value: ready };
  }

  dueMs(): number {
    return this.#ready === undefined ? Number.POSITIVE_INFINITY : 0;
  }

  close(): void {
    this.#end.abort();
    this.#taken?.();
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    let failed = 0;
    while (!signal.aborted) {
      try {
        for await (const message of this.#options.open(signal)) {
          if (signal.aborted) return;
          failed = 0;
          this.#ready = message;
          this.#options.wake();
          await new Promise<void>((resolve) => {
            this.#taken = resolve;
          });
        }
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof StoreUnavailableError)) {
          failed += 1;
          if (!mayPass(error) || failed >= MAX_FAILED) throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }
}

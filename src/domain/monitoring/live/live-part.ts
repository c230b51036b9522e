import type { Message } from '@bufbuild/protobuf';
import type {
  WatchLiveRequest_Part,
  WatchLiveResponse,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';

export type LiveCase = Exclude<WatchLiveResponse['part']['case'], undefined>;

/** What a part has to tell: as a message, or encoded already where the caller takes bytes. */
export type LiveNews = { case: LiveCase } & ({ value: Message } | { bytes: Uint8Array });

/** One part of one live stream. It keeps what it has yet to tell in bounded memory, however slowly it is asked. */
export interface LivePart {
  readonly part: WatchLiveRequest_Part;
  /** What there is to tell now; undefined: nothing. @throws DomainError: this part, or for SLOW_CONSUMER the stream, is over */
  take(): LiveNews | undefined;
  /** When to ask again though nobody called `wake`, monotonic milliseconds; Infinity: only then. */
  dueMs(): number;
  close(): void;
}

/** What a part is made with. */
export interface PartContext {
  namespace: string;
  /** The caller reads JSON: what is told must be a message. */
  json: boolean;
  intervalMs: number;
  /** Asks `take` again soon. */
  wake(): void;
}

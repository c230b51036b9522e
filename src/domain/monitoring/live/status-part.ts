import { create } from '@bufbuild/protobuf';
import {
  type SystemStatus,
  SystemStatusSchema,
  WatchLiveRequest_Part,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { encode } from '../../../lib/encode.ts';
import type { LiveNews, LivePart, PartContext } from './live-part.ts';

export interface StatusPartOptions extends PartContext {
  clock: Clock;
  read(): { status: SystemStatus; bytes: Uint8Array };
  /** It is no longer watched. */
  closed(): void;
}

/** The whole status at each interval: it is small, and what it says of its age is part of it. */
export class StatusPart implements LivePart {
  readonly part = WatchLiveRequest_Part.STATUS;
  readonly #options: StatusPartOptions;
  #nextMs = 0;

  constructor(options: StatusPartOptions) {
    this.#options = options;
  }

  take(): LiveNews | undefined {
    const { clock, intervalMs, json, read } = this.#options;
    const nowMs = clock.monoMs();
    if (nowMs < this.#nextMs) return undefined;
    this.#nextMs = nowMs + intervalMs;
    const { status, bytes } = read();
    return json ? { case: 'status', value: status } : { case: 'status', bytes };
  }

  dueMs(): number {
    return this.#nextMs;
  }

  close(): void {
    this.#options.closed();
  }
}

/** Two readings of a status are at least so far apart, however many watch it. */
const SHARED_MS = 200;

interface Shared {
  watchers: number;
  last: { atMs: number; status: SystemStatus; bytes: Uint8Array } | undefined;
}

/** Reads the status of each namespace once for all that watch it, and keeps it as long as somebody does. */
export class SharedStatus {
  readonly #clock: Clock;
  readonly #read: (namespace: string) => SystemStatus;
  readonly #shared = new Map<string, Shared>();

  constructor(options: { clock: Clock; read: (namespace: string) => SystemStatus }) {
    this.#clock = options.clock;
    this.#read = options.read;
  }

  namespaces(): string[] {
    return [...this.#shared.keys()];
  }

  /** One more that watches; call `closed` once it does not. */
  join(namespace: string): Pick<StatusPartOptions, 'read' | 'closed'> {
    const shared = this.#shared.get(namespace) ?? { watchers: 0, last: undefined };
    this.#shared.set(namespace, shared);
    shared.watchers += 1;
    let watches = true;
    const closed = (): void => {
      if (!watches) return;
      watches = false;
      shared.watchers -= 1;
      if (shared.watchers === 0) this.#shared.delete(namespace);
    };
    return { read: () => this.#latest(namespace, shared), closed };
  }

  #latest(namespace: string, shared: Shared): { status: SystemStatus; bytes: Uint8Array } {
    const nowMs = this.#clock.monoMs();
    const { last } = shared;
    if (last !== undefined && nowMs - last.atMs < SHARED_MS) return last;
    const status = create(SystemStatusSchema, this.#read(namespace));
    const made = { atMs: nowMs, status, bytes: encode(SystemStatusSchema, status) };
    shared.last = made;
    return made;
  }
}

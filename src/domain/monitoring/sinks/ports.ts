import type { Alert } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { AlertRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { HeldLease } from '../../agent/care/leases.ts';
import type { CloudEvent } from './envelopes.ts';

/** What a sink is told of an alert. */
export type Told = 'firing' | 'resolved';

/** An alert on its way to a sink. */
export interface Notice {
  what: Told;
  alert: Alert;
  /** The same for sinks that take CloudEvents; its id is the same at each try and from each replica. */
  event: CloudEvent;
}

/** Sends to one kind of sink. Keeps nothing of what it sent; `Sinks` sees to retries and order. */
export interface SinkAdapter {
  readonly kind: 'webhook' | 'alertmanager' | 'command' | 'log';
  /** Where to, without secrets. */
  readonly target: string;
  /** Alerts in one `sendAlerts`, at most. */
  readonly batch: number;
  /** Sends that may be under way at a time. */
  readonly concurrency: number;
  /** Its alerts are over unless it hears of them again and again. */
  readonly resends: boolean;
  /**
   * Resolves when the sink has them. Gives up when `signal` fires.
   * @throws SinkError
   */
  sendAlerts(notices: readonly Notice[], signal: AbortSignal): Promise<void>;
  /** The same for something that happened; undefined: it takes none. */
  sendEvent?(event: CloudEvent, signal: AbortSignal): Promise<void>;
  /** Ends what is under way, and lets go of connections and processes. */
  close(): void;
}

export interface SinkErrorOptions {
  /** For operators: neither secrets nor what the sink answered beyond an excerpt. */
  message: string;
  /** The sink works and does not want this content: the same again will not help soon, others may go on. */
  refused?: boolean;
  /** The sink asked for a pause. */
  retryAfterMs?: number;
}

/** A sink did not take it. */
export class SinkError extends Error {
  override readonly name = 'SinkError';
  readonly refused: boolean;
  readonly retryAfterMs: number | undefined;
  constructor(options: SinkErrorOptions) {
    super(options.message);
    this.refused = options.refused ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** An alert as it is stored. */
export interface KeptAlert {
  record: AlertRecord;
  revision: bigint;
}

/** The alerts that this replica knows of. */
export interface AlertRecords {
  /** Namespaces that have alerts. */
  namespaces(): Iterable<string>;
  /** Those of a namespace that are kept, with their ids. */
  records(namespace: string): Iterable<readonly [string, KeptAlert]>;
  /** Of these, those that are not resolved. */
  open(namespace: string): Iterable<KeptAlert & { id: string }>;
  record(namespace: string, alertId: string): KeptAlert | undefined;
  /** The one about a subject that is open, or else the last. */
  about(namespace: string, fingerprint: string): (KeptAlert & { id: string }) | undefined;
  /** Told after an alert changed, or was removed. */
  listen(listener: (namespace: string, alertId: string) => void): void;
}

/** Who sends for a namespace: the holder of the lease of alerts. */
export interface SenderLease {
  /** Undefined: another replica does. */
  held(namespace: string): HeldLease | undefined;
  /** A commit was refused because of it. */
  lost(namespace: string): void;
  /** Takes it if it is free; for feeds of namespaces where nobody else asks for it. */
  acquire?(namespace: string): Promise<void>;
}

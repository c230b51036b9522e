import { clone, create } from '@bufbuild/protobuf';
import { type Alert, AlertSchema } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import { type Store, StoreFullError, StoreUnavailableError } from '../../../state/store.ts';
import { alertOf, isOpen } from '../alerts/alert-record.ts';
import { type Item, keyOf, newItem, type Parcel } from './alert-items.ts';
import { noticeOf } from './envelopes.ts';
import type { SinkGate } from './gate.ts';
import type { AlertRecords, KeptAlert, SenderLease, SinkAdapter, SinkError, Told } from './ports.ts';
import { pendingOf, resendOf, storeTold } from './tellings.ts';

export interface AlertQueueOptions {
  sink: string;
  adapter: SinkAdapter;
  gate: SinkGate;
  records: AlertRecords;
  lease: SenderLease;
  store: Store;
  storeMs: () => number;
  clock: Clock;
  /** Does work that nobody awaits. */
  run(name: string, work: () => Promise<void>): void;
  log: Logger;
  resendMs: number;
}

/** How a delivery goes, beyond what is stored of it. */
export interface Progress {
  tries: number;
  lastTryMs: number;
  error: string;
}

/** Told without the store at most. */
const MAX_DIRECT = 64;
const STORE_RETRY_MS = 1000;
/** Of an alert that is over nothing is told any more after so many times `resendMs`. */
const FORGOTTEN_RESENDS = 4;

/** What one sink is still to be told of alerts. All of it can be made anew from the records; it holds ids alone. */
export class AlertQueue {
  readonly #options: AlertQueueOptions;
  readonly #items = new Map<string, Item>();
  /** Where it was stored that the sink has it, until the view shows that. */
  readonly #stored = new Map<string, { epoch: bigint; revision: bigint }>();
  /** For sinks that forget: what they were told of, and when last, by the store's clock. */
  readonly #told = new Map<string, { namespace: string; alertId: string; ms: number }>();
  /** The lease under which a namespace was looked through. */
  readonly #swept = new Map<string, bigint>();

  constructor(options: AlertQueueOptions) {
    this.#options = options;
  }

  /** What waits, or is on its way, and is news. */
  get waiting(): number {
    return this.#items.size;
  }

  /** An alert may have something to be told. */
  offer(namespace: string, alertId: string): void {
    const key = keyOf(namespace, alertId);
    if (this.#items.has(key) || this.#pending(key, namespace, alertId) === undefined) return;
    this.#items.set(key, newItem(namespace, alertId));
  }

  /** Tells it although nothing can be stored. A later one of the same alert takes its place. */
  offerNow(alert: Alert, what: Told): void {
    const key = `! ${alert.id}`;
    const known = this.#items.get(key);
    const direct = { alert: clone(AlertSchema, alert), what };
    if (known !== undefined) known.direct = direct;
    else if ([...this.#items.values()].filter((item) => item.direct !== undefined).length < MAX_DIRECT) {
      this.#items.set(key, { ...newItem(alert.namespace, alert.id), direct });
    }
  }

  /** It is over, and stored: that it fires is not told any more. Where that may be on its way, the end follows. */
  takeBack(alert: Alert): void {
    const key = `! ${alert.id}`;
    const known = this.#items.get(key);
    if (known === undefined) return;
    if (known.busy || known.tries > 0) this.offerNow(alert, 'resolved');
    else this.#items.delete(key);
  }

  /**
   * Looks for what nobody told of: after a takeover through all alerts of the namespace, for sinks that forget through those
   * that are open or were told of late.
   */
  sweep(): void {
    const { records, lease, adapter } = this.#options;
    for (const namespace of records.namespaces()) {
      const held = lease.held(namespace);
      if (held === undefined) this.#swept.delete(namespace);
      else if (this.#swept.get(namespace) !== held.fence.revision) {
        this.#swept.set(namespace, held.fence.revision);
        this.#sweepAll(namespace);
      } else if (adapter.resends) {
        for (const { id } of records.open(namespace)) this.#offerAgain(namespace, id);
      }
    }
    for (const [key, { namespace, alertId }] of this.#told) {
      if (!this.#offerAgain(namespace, alertId) && !this.#items.has(key)) this.#told.delete(key);
    }
  }

  #sweepAll(namespace: string): void {
    const { records, sink, adapter } = this.#options;
    // What is over goes first: where the same fires again under another id, the last word is that it does.
    const known = [...records.records(namespace)];
    const isOver = (kept: KeptAlert): boolean => !isOpen(alertOf(kept.record));
    known.sort(([, a], [, b]) => Number(isOver(b)) - Number(isOver(a)));
    for (const [alertId, { record }] of known) {
      this.offer(namespace, alertId);
      const telling = record.tellings[sink];
      if (!adapter.resends || telling?.told !== 'resolved') continue;
      this.#told.set(keyOf(namespace, alertId), { namespace, alertId, ms: Number(telling.toldMs) });
    }
    for (const key of this.#stored.keys()) if (!this.#items.has(key)) this.#stored.delete(key);
  }

  /** One that sinks that forget are to hear of again, if it is time; whether that may be so later on. */
  #offerAgain(namespace: string, alertId: string): boolean {
    const { records, adapter, sink, storeMs, resendMs, lease } = this.#options;
    const kept = records.record(namespace, alertId);
    if (kept === undefined || !adapter.resends || lease.held(namespace) === undefined) return false;
    const key = keyOf(namespace, alertId);
    this.offer(namespace, alertId);
    if (!this.#items.has(key) && this.#resend(key, kept) !== undefined) {
      this.#items.set(key, newItem(namespace, alertId));
    }
    const telling = kept.record.tellings[sink];
    return telling?.told !== 'resolved' || storeMs() - Number(telling.toldMs) < FORGOTTEN_RESENDS * resendMs;
  }

  /** Begins as many tries as may be under way. */
  pump(): void {
    const { gate, adapter, run } = this.#options;
    while (gate.open('alerts')) {
      const parcels = this.#next(adapter.batch);
      if (parcels.length === 0) return;
      for (const { item } of parcels) item.busy = true;
      run('send alerts', () => this.#send(parcels));
    }
  }

  progress(namespace: string, alertId: string): Progress | undefined {
    return this.#items.get(keyOf(namespace, alertId));
  }

  /** Those whose turn has come; what has nothing to tell any more goes. */
  #next(most: number): Parcel[] {
    const nowMs = this.#options.clock.monoMs();
    const parcels: Parcel[] = [];
    for (const [key, item] of this.#items) {
      if (item.busy || item.retryAtMs > nowMs) continue;
      // One that was refused may be what spoils a whole batch: it goes alone.
      if (item.refusals > 0 && parcels.length > 0) continue;
      const parcel = this.#parcel(key, item);
      if (parcel === undefined) {
        this.#items.delete(key);
        continue;
      }
      if (parcel === 'store') continue;
      parcels.push(parcel);
      if (parcels.length === most || item.refusals > 0) break;
    }
    return parcels;
  }

  #parcel(key: string, item: Item): Parcel | 'store' | undefined {
    const { namespace, alertId, direct } = item;
    if (direct !== undefined) {
      const { alert, what } = direct;
      return { item, what, notice: noticeOf(alert, what), kept: undefined, again: false };
    }
    const { records, lease, run } = this.#options;
    const kept = records.record(namespace, alertId);
    if (kept === undefined || lease.held(namespace) === undefined) return undefined;
    const pending = this.#pending(key, namespace, alertId);
    if (pending !== undefined && pending === item.has) {
      item.busy = true;
      run('store what was told', () => this.#store(key, item, pending, kept));
      return 'store';
    }
    const what = pending ?? this.#resend(key, kept);
    if (what === undefined) return undefined;
    const alert = clone(AlertSchema, kept.record.alert ?? create(AlertSchema));
    Object.assign(alert, { id: alertId, namespace, revision: kept.revision });
    return { item, what, notice: noticeOf(alert, what), kept, again: pending === undefined };
  }

  #pending(key: string, namespace: string, alertId: string): Told | undefined {
    const { records, store, sink } = this.#options;
    const kept = records.record(namespace, alertId);
    if (kept === undefined) return undefined;
    const stored = this.#stored.get(key);
    if (stored !== undefined) {
      // The view lags: it does not show yet what was stored.
      if (stored.epoch === store.status().epoch && kept.revision < stored.revision) return undefined;
      this.#stored.delete(key);
    }
    return pendingOf(kept, sink);
  }

  #resend(key: string, kept: KeptAlert): Told | undefined {
    const { adapter, sink, storeMs, resendMs } = this.#options;
    if (!adapter.resends) return undefined;
    const now = { storeMs: storeMs(), resendMs, lastMs: this.#told.get(key)?.ms };
    const what = resendOf(kept, sink, now);
    return what === 'resolved' && this.#isBack(kept) ? undefined : what;
  }

  /** Whether the same is open again under another id: over there both are one alert, which must not end. */
  #isBack({ record }: KeptAlert): boolean {
    const { alert, fingerprint } = record;
    const other = this.#options.records.about(alert?.namespace ?? '', fingerprint);
    return other !== undefined && other.id !== alert?.id && isOpen(alertOf(other.record));
  }

  async #send(parcels: readonly Parcel[]): Promise<void> {
    const { gate, adapter } = this.#options;
    const notices = parcels.map(({ notice }) => notice);
    const error = await gate.attempt('alerts', notices.length, (signal) =>
      adapter.sendAlerts(notices, signal),
    );
    await Promise.all(parcels.map((parcel) => this.#settle(parcel, error)));
    this.pump();
  }

  async #settle({ item, what, kept, again }: Parcel, error: SinkError | undefined): Promise<void> {
    const { gate, adapter, clock, storeMs } = this.#options;
    const { namespace, alertId } = item;
    item.tries += 1;
    item.lastTryMs = clock.wallMs();
    item.busy = false;
    if (error !== undefined) {
      item.error = error.message;
      if (!error.refused) return;
      item.refusals += 1;
      item.retryAtMs = clock.monoMs() + gate.backoffMs(item.refusals);
      return;
    }
    if (item.direct !== undefined) {
      // Unless it has changed in the meantime.
      if (item.direct.what === what) this.#items.delete(`! ${alertId}`);
      return;
    }
    const key = keyOf(namespace, alertId);
    if (adapter.resends) this.#told.set(key, { namespace, alertId, ms: storeMs() });
    if (again || kept === undefined) {
      this.#items.delete(key);
      // It may have changed while it was sent.
      this.offer(namespace, alertId);
    } else {
      item.busy = true;
      await this.#store(key, item, what, kept);
    }
  }

  async #store(key: string, item: Item, what: Told, kept: KeptAlert): Promise<void> {
    const { store, lease, sink, storeMs, clock, log } = this.#options;
    const { namespace, alertId } = item;
    item.has = what;
    try {
      const stored = await storeTold({
        ...{ store, lease, namespace, alertId, sink, what, kept, storeMs: storeMs() },
      });
      if (stored.kind === 'stored') this.#stored.set(key, stored);
      this.#items.delete(key);
      // It may have changed meanwhile, and the view shown that before.
      this.offer(namespace, alertId);
    } catch (error) {
      const isAway = error instanceof StoreUnavailableError || error instanceof StoreFullError;
      if (!isAway) log.warn({ sink, alert: alertId, err: error }, 'what was told could not be stored');
      item.retryAtMs = clock.monoMs() + STORE_RETRY_MS;
    } finally {
      item.busy = false;
    }
  }
}

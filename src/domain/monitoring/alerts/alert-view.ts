import { fromBinary } from '@bufbuild/protobuf';
import {
  type AlertRecord,
  type MonitorRecord,
  MonitorRecordSchema,
  type SilenceRecord,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { ChangeBatch, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import {
  alertIdOf,
  alertOf,
  decodeAlert,
  decodeSilence,
  isAlertKey,
  isOpen,
  isSilenceKey,
  PROGRESS_KEY,
  silenceIdOf,
} from './alert-record.ts';

/** An alert as this replica knows it. Its record must not be changed. */
export interface KnownAlert {
  namespace: string;
  id: string;
  record: AlertRecord;
  revision: bigint;
}

export interface KnownSilence {
  /** Of its record; what holds everywhere stands in "_system". */
  namespace: string;
  id: string;
  record: SilenceRecord;
  revision: bigint;
}

/** How far events were judged; each commit of whoever judges moves it on. */
export interface KnownProgress {
  record: MonitorRecord;
  revision: bigint;
}

interface NamespaceAlerts {
  byId: Map<string, KnownAlert>;
  open: Map<string, KnownAlert>;
  /** The one that is open, or else the last. */
  byFingerprint: Map<string, KnownAlert>;
  /** Open alerts under another one, by its id. */
  members: Map<string, Set<string>>;
  silences: Map<string, KnownSilence>;
  progress: KnownProgress | undefined;
}

export interface AlertListener {
  alert?(namespace: string, id: string): void;
  silence?(namespace: string, id: string): void;
}

/** The view of all alerts and silences. */
export class AlertView implements View {
  readonly #namespaces = new Map<string, NamespaceAlerts>();
  /** Ids are unique over all namespaces. */
  readonly #alerts = new Map<string, KnownAlert>();
  readonly #silences = new Map<string, KnownSilence>();
  readonly #listeners = new Set<AlertListener>();
  #silencesVersion = 0;

  /** Told after each change. Returns what ends it. */
  subscribe(listener: AlertListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Told after an alert changed, or was removed. */
  listen(listener: (namespace: string, alertId: string) => void): void {
    this.subscribe({ alert: listener });
  }

  get(id: string): KnownAlert | undefined {
    return this.#alerts.get(id);
  }

  record(namespace: string, id: string): KnownAlert | undefined {
    return this.#namespaces.get(namespace)?.byId.get(id);
  }

  /** Namespaces that have alerts or silences. */
  namespaces(): Iterable<string> {
    return this.#namespaces.keys();
  }

  /** Those that are kept, with their ids; of one namespace or of all. */
  records(namespace?: string): Iterable<readonly [string, KnownAlert]> {
    return (namespace === undefined ? this.#alerts : this.#namespaces.get(namespace)?.byId) ?? [];
  }

  open(namespace: string): Iterable<KnownAlert> {
    return this.#namespaces.get(namespace)?.open.values() ?? [];
  }

  openCount(namespace: string): number {
    return this.#namespaces.get(namespace)?.open.size ?? 0;
  }

  count(namespace: string): number {
    return this.#namespaces.get(namespace)?.byId.size ?? 0;
  }

  /** The one about a subject that is open, or else the last. */
  about(namespace: string, fingerprint: string): KnownAlert | undefined {
    return this.#namespaces.get(namespace)?.byFingerprint.get(fingerprint);
  }

  /** Ids of open alerts under this one. */
  members(namespace: string, headId: string): ReadonlySet<string> {
    return this.#namespaces.get(namespace)?.members.get(headId) ?? NOBODY;
  }

  progress(namespace: string): KnownProgress | undefined {
    return this.#namespaces.get(namespace)?.progress;
  }

  silence(id: string): KnownSilence | undefined {
    return this.#silences.get(id);
  }

  silences(): Iterable<KnownSilence> {
    return this.#silences.values();
  }

  silenceCount(namespace: string): number {
    return this.#namespaces.get(namespace)?.silences.size ?? 0;
  }

  /** Moves with every change of a silence. */
  get silencesVersion(): number {
    return this.#silencesVersion;
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    const before = this.#namespaces.get(namespace);
    const gone = new Set(before?.byId.keys());
    const ended = new Set(before?.silences.keys());
    for (const id of gone) this.#alerts.delete(id);
    for (const id of ended) this.#silences.delete(id);
    this.#namespaces.delete(namespace);
    for (const { key, value, revision } of entries) {
      if (isAlertKey(key)) gone.add(this.#put(namespace, alertIdOf(key), value, revision));
      else if (isSilenceKey(key)) ended.add(this.#putSilence(namespace, silenceIdOf(key), value, revision));
      else if (key === PROGRESS_KEY) this.#setProgress(namespace, value, revision);
    }
    for (const id of gone) this.#tell(namespace, id);
    for (const id of ended) this.#tellSilence(namespace, id);
  }

  apply({ namespace, revision, changes }: ChangeBatch): void {
    for (const { key, value } of changes) {
      if (isAlertKey(key)) {
        const id = alertIdOf(key);
        if (value === undefined) this.#remove(namespace, id);
        else this.#put(namespace, id, value, revision);
        this.#tell(namespace, id);
      } else if (isSilenceKey(key)) {
        const id = silenceIdOf(key);
        if (value === undefined) {
          this.#silences.delete(id);
          this.#namespaces.get(namespace)?.silences.delete(id);
        } else this.#putSilence(namespace, id, value, revision);
        this.#tellSilence(namespace, id);
      } else if (key === PROGRESS_KEY) {
        this.#setProgress(namespace, value, revision);
      }
    }
  }

  #setProgress(namespace: string, value: Uint8Array | undefined, revision: bigint): void {
    this.#of(namespace).progress =
      value === undefined ? undefined : { record: fromBinary(MonitorRecordSchema, value), revision };
  }

  #put(namespace: string, id: string, value: Uint8Array, revision: bigint): string {
    const alerts = this.#of(namespace);
    const before = alerts.byId.get(id);
    if (before !== undefined) leaveGroup(alerts, before);
    const known: KnownAlert = { namespace, id, record: decodeAlert(value, revision), revision };
    const alert = alertOf(known.record);
    alerts.byId.set(id, known);
    this.#alerts.set(id, known);
    const { fingerprint } = known.record;
    const other = alerts.byFingerprint.get(fingerprint);
    if (other === undefined || other.id === id || isOpen(alert) || isNewer(known, other))
      alerts.byFingerprint.set(fingerprint, known);
    if (!isOpen(alert)) {
      alerts.open.delete(id);
      return id;
    }
    alerts.open.set(id, known);
    if (alert.groupedUnder !== '') {
      const members = alerts.members.get(alert.groupedUnder) ?? new Set();
      alerts.members.set(alert.groupedUnder, members.add(id));
    }
    return id;
  }

  #remove(namespace: string, id: string): void {
    const alerts = this.#namespaces.get(namespace);
    const before = alerts?.byId.get(id);
    if (alerts === undefined || before === undefined) return;
    leaveGroup(alerts, before);
    alerts.byId.delete(id);
    alerts.open.delete(id);
    this.#alerts.delete(id);
    const { fingerprint } = before.record;
    if (alerts.byFingerprint.get(fingerprint)?.id === id) alerts.byFingerprint.delete(fingerprint);
  }

  #putSilence(namespace: string, id: string, value: Uint8Array, revision: bigint): string {
    const known: KnownSilence = { namespace, id, record: decodeSilence(value), revision };
    this.#silences.set(id, known);
    this.#of(namespace).silences.set(id, known);
    return id;
  }

  #of(namespace: string): NamespaceAlerts {
    let alerts = this.#namespaces.get(namespace);
    if (alerts === undefined) {
      alerts = {
        byId: new Map(),
        open: new Map(),
        byFingerprint: new Map(),
        members: new Map(),
        silences: new Map(),
        progress: undefined,
      };
      this.#namespaces.set(namespace, alerts);
    }
    return alerts;
  }

  #tell(namespace: string, id: string): void {
    for (const { alert } of this.#listeners) alert?.(namespace, id);
  }

  #tellSilence(namespace: string, id: string): void {
    this.#silencesVersion += 1;
    for (const { silence } of this.#listeners) silence?.(namespace, id);
  }
}

const NOBODY: ReadonlySet<string> = new Set();

function leaveGroup(alerts: NamespaceAlerts, { id, record }: KnownAlert): void {
  const { groupedUnder } = alertOf(record);
  if (groupedUnder === '') return;
  const members = alerts.members.get(groupedUnder);
  if (members?.delete(id) === true && members.size === 0) alerts.members.delete(groupedUnder);
}

const startOf = ({ record }: KnownAlert): bigint => alertOf(record).startTime?.seconds ?? 0n;
const isNewer = (a: KnownAlert, b: KnownAlert): boolean =>
  !isOpen(alertOf(b.record)) && startOf(a) >= startOf(b);

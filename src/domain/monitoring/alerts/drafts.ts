import { create } from '@bufbuild/protobuf';
import { Alert_State, AlertSchema } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type AlertRecord,
  AlertRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Append, Check, Commit } from '../../../state/store.ts';
import type { EventWriter, NewEvent } from '../events.ts';
import {
  alertKey,
  alertOf,
  copyAlertRecord,
  encodeAlert,
  eventOfThisCommit,
  fingerprintOf,
  isOpen,
  RECORD_FORMAT,
} from './alert-record.ts';
import type { AlertView, KnownAlert } from './alert-view.ts';
import type { Rule } from './rule.ts';

/** An alert that is being changed. */
export interface Draft {
  id: string;
  record: AlertRecord;
  /** As it was stored; 0n: it is new. */
  revision: bigint;
  /** Made when they are stored, from the alert as it is then. */
  events: (() => NewEvent)[];
  /** Its record goes: it was pending and is no more, or it is too old. */
  removed: boolean;
}

/** What a commit is to hold. */
export type Changes = Required<Pick<Commit, 'checks' | 'puts' | 'deletes' | 'appends'>>;

export interface DraftsOptions {
  view: AlertView;
  namespace: string;
  newId: () => string;
}

/** Alerts of one namespace while they are judged: those that change are copied, and stored in one commit. */
export class Drafts {
  readonly #options: DraftsOptions;
  readonly #byId = new Map<string, Draft>();
  readonly #byFingerprint = new Map<string, Draft>();
  /** Silences that are over for long. */
  readonly oldSilences: Check[] = [];

  constructor(options: DraftsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#byId.size + this.oldSilences.length;
  }

  all(): Iterable<Draft> {
    return this.#byId.values();
  }

  /** New ones among them. */
  get added(): number {
    let count = 0;
    for (const { revision, removed } of this.#byId.values()) if (revision === 0n && !removed) count += 1;
    return count;
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  /** Whether it began in this round. */
  isNew(id: string): boolean {
    return this.#byId.get(id)?.revision === 0n;
  }

  /** As it is now, changes included; undefined: there is none, or it is removed. */
  peek(id: string): AlertRecord | undefined {
    const draft = this.#byId.get(id);
    if (draft !== undefined) return draft.removed ? undefined : draft.record;
    return this.#options.view.record(this.#options.namespace, id)?.record;
  }

  /** The record about a subject: the open one, or else the last. */
  about(fingerprint: string): AlertRecord | undefined {
    const draft = this.#byFingerprint.get(fingerprint);
    if (draft !== undefined && !draft.removed) return draft.record;
    const known = this.#options.view.about(this.#options.namespace, fingerprint);
    return known === undefined ? undefined : this.peek(known.id);
  }

  /** Open alerts, changes included. */
  *open(): IterableIterator<AlertRecord> {
    for (const { id, record } of this.#options.view.open(this.#options.namespace)) {
      const draft = this.#byId.get(id);
      if (draft === undefined) yield record;
      else if (!draft.removed && isOpen(alertOf(draft.record))) yield draft.record;
    }
    for (const { revision, removed, record } of this.#byId.values())
      if (revision === 0n && !removed && isOpen(alertOf(record))) yield record;
  }

  /** To be changed. */
  edit(id: string): Draft {
    const draft = this.#byId.get(id);
    if (draft !== undefined) return draft;
    const known = this.#options.view.record(this.#options.namespace, id);
    if (known === undefined) throw new Error(`there is no alert ${id} to be changed`);
    return this.#add(known, copyAlertRecord(known.record));
  }

  /** A new one, pending from now on. */
  begin(rule: Rule, subject: Readonly<Record<string, string>>, storeMs: number): Draft {
    const { namespace, newId } = this.#options;
    const id = newId();
    const alert = create(AlertSchema, {
      id,
      namespace,
      rule: rule.name,
      severity: rule.severity,
      state: Alert_State.PENDING,
      labels: { ...rule.labels, ...subject },
      description: rule.description,
      runbookUrl: rule.runbookUrl,
      startTime: timestampFromMs(storeMs),
    });
    const fingerprint = fingerprintOf(rule.name, subject);
    const record = create(AlertRecordSchema, { format: RECORD_FORMAT, alert, fingerprint });
    return this.#add({ id, revision: 0n }, record);
  }

  #add({ id, revision }: Pick<KnownAlert, 'id' | 'revision'>, record: AlertRecord): Draft {
    const draft: Draft = { id, record, revision, events: [], removed: false };
    this.#byId.set(id, draft);
    this.#byFingerprint.set(record.fingerprint, draft);
    return draft;
  }

  /** All of them, so many at a time; heads of groups come first. */
  chunks(size: number): Draft[][] {
    const all = [...this.#byId.values()].filter(({ removed, revision }) => !removed || revision !== 0n);
    const isHead = (draft: Draft): number => (alertOf(draft.record).groupSize > 0 ? 0 : 1);
    all.sort((a, b) => isHead(a) - isHead(b));
    const chunks: Draft[][] = [];
    for (let at = 0; at < all.length; at += size) chunks.push(all.slice(at, at + size));
    return chunks.length === 0 ? [[]] : chunks;
  }

  /** What is to be stored. Each alert is as it was judged: the commit checks their revisions. */
  static changes(drafts: readonly Draft[], events: EventWriter, prepare: (draft: Draft) => void): Changes {
    const checks: Check[] = [];
    const puts: { key: string; value: Uint8Array }[] = [];
    const deletes: string[] = [];
    const appends: Append[] = [];
    for (const draft of drafts) {
      const { id, revision, removed, record } = draft;
      checks.push({ key: alertKey(id), revision });
      for (const make of draft.events) {
        const event = make();
        if (event.type === FIRED) alertOf(record).eventId = eventOfThisCommit(appends.length);
        appends.push(events.append(event));
      }
      if (removed) deletes.push(alertKey(id));
      else {
        prepare(draft);
        puts.push({ key: alertKey(id), value: encodeAlert(record) });
      }
    }
    return { checks, puts, deletes, appends };
  }
}

/** The event that an alert names as its own. */
export const FIRED = 'alert.fired';

import { equals } from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import type { Quota } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { QuotaRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Check, RequestRecord, Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Views } from '../../../state/views.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import type { Accounts } from '../accounts/accounts.ts';
import { quotaRemoved, quotaUpdated } from './quota-events.ts';
import { decodeQuota, encodeQuota, quotaKey } from './quota-record.ts';
import { confirmed, type InUse, inUse, isUnsettled, takenBack, wanting } from './quota-rules.ts';

export interface QuotaChangesOptions {
  store: Store;
  storeTime: StoreTime;
  views: Pick<Views, 'waitFor'>;
  events: EventWriter;
  /** What is reserved in a namespace, as far as this replica's views have seen. */
  accounts(namespace: string): Accounts;
}

/** A quota's record as it is stored. */
export interface StoredQuota {
  namespace: string;
  owner: string;
  /** Undefined: there is none. */
  record: QuotaRecord | undefined;
  /** Of its entry. */
  revision: bigint;
}

export type ChangeOutcome =
  /** `record` is undefined where it was removed. */
  | { kind: 'done'; record: QuotaRecord | undefined; revision: bigint }
  | { kind: 'in_use'; found: InUse | undefined }
  /** Another request with the same id was faster. */
  | { kind: 'repeated'; revision: bigint; fingerprint: Uint8Array; response: Uint8Array }
  /** It changed meanwhile: look again. */
  | { kind: 'conflict' };

/** What a change is remembered with, once it is known what it comes to. */
type Remember = (record: QuotaRecord | undefined) => { request?: RequestRecord };

/** How long the views may take to show what was committed. */
const SEEN_MS = 5000;
const ATTEMPTS = 16;

/**
 * Changes of quotas. One that lowers something has two steps: at first it is only wanted, and from then on the lower of both
 * limits binds, because whoever grants something has his commit check the quota's revision. Once this replica's views show
 * that commit, they show everything that was granted before it: then the change is confirmed, or taken back. Any replica may do
 * the second step.
 */
export class QuotaChanges {
  readonly #options: QuotaChangesOptions;

  constructor(options: QuotaChangesOptions) {
    this.#options = options;
  }

  async load(namespace: string, owner: string): Promise<StoredQuota> {
    const entry = await this.#options.store.get(namespace, quotaKey(owner));
    const record = entry && decodeQuota(entry.value);
    return { namespace, owner, record, revision: entry?.revision ?? 0n };
  }

  /** A change that lowers nothing: one step. */
  async atOnce(
    stored: StoredQuota,
    wanted: Quota,
    nowMs: number,
    remember: Remember,
  ): Promise<ChangeOutcome> {
    const { namespace, owner, record, revision } = stored;
    const next = confirmed(record, wanted, nowMs);
    const outcome = await this.#options.store.commit({
      namespace,
      checks: [{ key: quotaKey(owner), revision }],
      puts: [{ key: quotaKey(owner), value: encodeQuota(next) }],
      appends: [this.#options.events.append(quotaUpdated(owner, wanted, record?.quota === undefined))],
      ...remember(next),
    });
    if (outcome.kind === 'committed') return { kind: 'done', record: next, revision: outcome.revision };
    return outcome.kind === 'repeated' ? outcome : { kind: 'conflict' };
  }

  /** Removes a quota without budgets, of which nothing can be reserved: one step. */
  async removeAtOnce(stored: StoredQuota, actor: string, remember: Remember): Promise<ChangeOutcome> {
    const { namespace, owner, revision } = stored;
    const outcome = await this.#options.store.commit({
      namespace,
      checks: [{ key: quotaKey(owner), revision }],
      deletes: [quotaKey(owner)],
      appends: [this.#options.events.append(quotaRemoved(owner, actor))],
      ...remember(undefined),
    });
    if (outcome.kind === 'committed') return { kind: 'done', record: undefined, revision: outcome.revision };
    return outcome.kind === 'repeated' ? outcome : { kind: 'conflict' };
  }

  /** Both steps. @throws DomainError REVISION_NOT_SEEN (this replica hears nothing; another one goes on with it) */
  async inTwoSteps(
    stored: StoredQuota,
    wanted: Quota | { removal: true; actor: string },
    nowMs: number,
    remember: Remember,
  ): Promise<ChangeOutcome> {
    const { store } = this.#options;
    const { namespace, owner, record, revision } = stored;
    const isRemoval = 'removal' in wanted;
    const asked = wanting(record, isRemoval ? 'removal' : wanted, { revision, nowMs });
    const outcome = await store.commit({
      namespace,
      checks: [{ key: quotaKey(owner), revision }],
      puts: [{ key: quotaKey(owner), value: encodeQuota(asked) }],
    });
    if (outcome.kind !== 'committed') return { kind: 'conflict' };
    let present: StoredQuota = { namespace, owner, record: asked, revision: outcome.revision };
    const actor = isRemoval ? wanted.actor : wanted.actor;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const finished = await this.finish(present, { actor, remember });
      if (finished.kind !== 'conflict') return finished;
      // What was spent came in between, or another replica did the second step.
      present = await this.load(namespace, owner);
      if (isRemoval) {
        if (present.record === undefined) {
          return { kind: 'done', record: undefined, revision: outcome.revision };
        }
        if (!present.record.removalWanted) return { kind: 'in_use', found: undefined };
      } else if (!sameWish(present.record?.wanted, wanted)) {
        const isConfirmed = sameWish(present.record?.quota, wanted);
        return isConfirmed
          ? { kind: 'done', record: present.record, revision: present.revision }
          : { kind: 'in_use', found: undefined };
      }
    }
    return { kind: 'conflict' };
  }

  /**
   * The second step of a change that is wanted, also of one that another replica began.
   * @throws DomainError REVISION_NOT_SEEN
   */
  async finish(
    stored: StoredQuota,
    {
      actor = 'rule:quotas',
      remember = () => ({}),
      fence,
    }: { actor?: string; remember?: Remember; fence?: Check } = {},
  ): Promise<ChangeOutcome> {
    const { store, storeTime, views, events } = this.#options;
    const { namespace, owner, record, revision } = stored;
    if (record === undefined || !isUnsettled(record)) return { kind: 'conflict' };
    await views.waitFor(namespace, revision, SEEN_MS);
    const nowMs = await storeTime.exact();
    const { wanted } = record;
    const accounts = this.#options.accounts(namespace);
    const found = inUse(accounts, owner, { record, wanted }, nowMs);
    const key = quotaKey(owner);
    const checks = [{ key, revision }, ...(fence === undefined ? [] : [fence])];
    const next =
      found !== undefined
        ? takenBack(record, revision)
        : wanted === undefined
          ? undefined
          : confirmed(record, wanted, nowMs);
    const event =
      wanted === undefined
        ? quotaRemoved(owner, actor)
        : quotaUpdated(owner, wanted, record.quota === undefined);
    const outcome = await store.commit({
      namespace,
      checks,
      ...(next === undefined ? { deletes: [key] } : { puts: [{ key, value: encodeQuota(next) }] }),
      ...(found === undefined ? { appends: [events.append(event)], ...remember(next) } : {}),
    });
    if (outcome.kind === 'repeated') return outcome;
    if (outcome.kind === 'conflict') return { kind: 'conflict' };
    if (found !== undefined) return { kind: 'in_use', found };
    return { kind: 'done', record: next, revision: outcome.revision };
  }
}

function sameWish(a: Quota | undefined, b: Quota): boolean {
  if (a?.updateTime === undefined || b.updateTime === undefined) return false;
  return a.actor === b.actor && equals(TimestampSchema, a.updateTime, b.updateTime);
}

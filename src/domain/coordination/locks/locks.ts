import { create } from '@bufbuild/protobuf';
import {
  type AcquireLockRequest,
  AcquireLockRequestSchema,
  type AcquireLockResponse,
  AcquireLockResponseSchema,
  type GetLockRequest,
  type GetLockResponse,
  GetLockResponseSchema,
  type ListLocksRequest,
  type ListLocksResponse,
  type Lock,
  LockSchema,
  type ReleaseLockRequest,
  type ReleaseLockResponse,
  ReleaseLockResponseSchema,
  type RenewLockRequest,
  type RenewLockResponse,
  RenewLockResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import type { LockRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { durationFromMs, msFromDuration } from '../../../lib/proto-time.ts';
import type { Check, Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Caller } from '../../agent/caller.ts';
import { contention, invalidFields, limitReached } from '../../agent/errors.ts';
import { agentKey } from '../../agent/record.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import { sessionCaller } from '../bindings.ts';
import { lockHeld, lockLost, lockNotFound } from './lock-errors.ts';
import { pageOfLocks } from './lock-list.ts';
import { decodeLock, encodeLock, lockKey, lockOf, msOf } from './lock-record.ts';
import { type Freedom, freedomOf, granted, isHeldWith, released, renewed } from './lock-rules.ts';
import type { KnownLock, LockView } from './lock-view.ts';
import { WaitLines } from './wait-lines.ts';

export interface LocksOptions {
  store: Store;
  storeTime: StoreTime;
  view: LockView;
  clock: Clock;
  /** Locks that a namespace may have. */
  maxLocks: number;
  /** Callers that may wait at a time on this replica. */
  maxWaiters: number;
}

/** How a caller waits: until its deadline, and not when it has gone away. */
export interface Waiting {
  signal: AbortSignal;
  /** Milliseconds until the call's deadline, or undefined. */
  timeLeftMs: number | undefined;
}

const ATTEMPTS = 16;
const DEFAULT_LEASE_MS = 30_000;
/** The answer has to reach the caller before its deadline. */
const MARGIN_MS = 100;

type Granted = { lock: Lock; storeMs: number };
type Tried = Granted | { held: Lock | undefined; freedom: Freedom; storeMs: number };

/** Locks with fencing tokens: decided on the store's record and its clock, by whatever replica. */
export class Locks {
  readonly #options: LocksOptions;
  readonly #lines = new WaitLines();

  constructor(options: LocksOptions) {
    this.#options = options;
    options.view.listen((namespace, name) => this.#lines.changed(`${namespace}/${name}`));
  }

  /**
   * @throws DomainError LOCK_HELD, EPOCH_STALE, SESSION_SUPERSEDED, TOKEN_INVALID, INVALID_FIELDS, LIMIT_REACHED,
   * REQUEST_ID_REUSED, CONTENTION; StoreUnavailableError
   */
  async acquire(request: AcquireLockRequest, caller: Caller, waiting: Waiting): Promise<AcquireLockResponse> {
    const namespace = namespaceOf(request);
    if (request.bindToSession && request.sessionEpoch === 0n) {
      const description = 'must be given with bind_to_session';
      throw invalidFields(`session_epoch ${description}`, [{ field: 'session_epoch', description }]);
    }
    const key = `${namespace}/${request.name}`;
    const { clock, maxWaiters } = this.#options;
    const waitMs = request.wait === undefined ? 0 : msFromDuration(request.wait);
    const untilMs =
      clock.monoMs() + Math.min(waitMs, (waiting.timeLeftMs ?? Number.POSITIVE_INFINITY) - MARGIN_MS);
    // Whoever does not wait does not overtake those who do.
    const mayTry = this.#lines.length(key) === 0;
    let tried = mayTry
      ? await this.#try(namespace, request, caller)
      : await this.#earlier(namespace, request, caller);
    if (tried !== undefined && 'lock' in tried) return answer(tried);
    if (waitMs === 0) throw lockHeld(request.name, tried?.held ?? this.#known(namespace, request.name));
    if (this.#lines.total >= maxWaiters)
      throw limitReached(`${maxWaiters} callers wait for locks at this replica`);
    const place = this.#lines.join(key);
    try {
      for (;;) {
        const leftMs = untilMs - clock.monoMs();
        if (leftMs <= 0 || waiting.signal.aborted) {
          throw lockHeld(request.name, tried?.held ?? this.#known(namespace, request.name));
        }
        const freeInMs =
          tried === undefined || tried.freedom.free || tried.freedom.untilMs === undefined
            ? undefined
            : tried.freedom.untilMs - tried.storeMs;
        const first = place.isFirst();
        await place.news(first ? Math.min(leftMs, freeInMs ?? leftMs) : leftMs, waiting.signal);
        if (waiting.signal.aborted) continue;
        if (!place.isFirst()) {
          const granted = await this.#earlier(namespace, request, caller);
          if (granted !== undefined) return answer(granted);
          continue;
        }
        const again = await this.#try(namespace, request, caller);
        if ('lock' in again) return answer(again);
        tried = again;
      }
    } finally {
      place.leave();
    }
  }

  /** @throws DomainError LOCK_LOST, CONTENTION; StoreUnavailableError */
  async renew(request: RenewLockRequest): Promise<RenewLockResponse> {
    const change = {
      leaseMs: request.lease === undefined ? undefined : msFromDuration(request.lease),
      value: request.value,
    };
    const { lock, storeMs } = await this.#change(request, (record, nowMs) => renewed(record, nowMs, change));
    return create(RenewLockResponseSchema, { lock, ...leaseLeft(lock, storeMs) });
  }

  /** @throws DomainError LOCK_LOST, CONTENTION; StoreUnavailableError */
  async release(request: ReleaseLockRequest): Promise<ReleaseLockResponse> {
    const { lock } = await this.#change(request, released);
    return create(ReleaseLockResponseSchema, { revision: lock.revision });
  }

  /** @throws DomainError LOCK_NOT_FOUND; StoreUnavailableError */
  async get(request: GetLockRequest): Promise<GetLockResponse> {
    const { store, storeTime } = this.#options;
    const namespace = namespaceOf(request);
    const entry = await store.get(namespace, lockKey(request.name));
    if (entry === undefined) throw lockNotFound(namespace, request.name);
    const known = { name: request.name, record: decodeLock(entry.value), revision: entry.revision };
    return create(GetLockResponseSchema, { lock: this.#shown(namespace, known, storeTime.ms()) });
  }

  list(request: ListLocksRequest): ListLocksResponse {
    const { view, storeTime } = this.#options;
    const namespace = namespaceOf(request);
    const storeMs = storeTime.ms();
    return pageOfLocks(request, { namespace, view, show: (known) => this.#shown(namespace, known, storeMs) });
  }

  #mutation(namespace: string, request: AcquireLockRequest, { principal }: Caller) {
    return new Mutation({
      store: this.#options.store,
      namespace,
      principal,
      method: 'AcquireLock',
      requestId: request.requestId,
      input: { schema: AcquireLockRequestSchema, message: request },
      output: AcquireLockResponseSchema,
    });
  }

  /**
   * The grant that an earlier try of the same request got: whoever asks again because the answer was lost may hold the
   * lock already, and must not stand in line behind those who wait for it to be given back.
   */
  async #earlier(
    namespace: string,
    request: AcquireLockRequest,
    caller: Caller,
  ): Promise<Granted | undefined> {
    const earlier = await this.#mutation(namespace, request, caller).earlier();
    return earlier && repeated(earlier, await this.#options.storeTime.exact());
  }

  /** One try to take the lock. */
  async #try(namespace: string, request: AcquireLockRequest, caller: Caller): Promise<Tried> {
    const { store, storeTime, view, maxLocks } = this.#options;
    const mutation = this.#mutation(namespace, request, caller);
    const key = lockKey(request.name);
    const earlier = await this.#earlier(namespace, request, caller);
    if (earlier !== undefined) return earlier;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const session = await sessionCaller(store, namespace, caller, request.sessionEpoch);
      const stored = await store.get(namespace, key);
      const record = stored && decodeLock(stored.value);
      const storeMs = await storeTime.exact();
      const freedom = freedomOf(record, storeMs);
      if (!freedom.free) {
        // It may have been granted to an earlier try of this request since that was looked for.
        const own = record !== undefined && lockOf(record).holder === request.holder;
        const granted = own ? await this.#earlier(namespace, request, caller) : undefined;
        if (granted !== undefined) return granted;
        const known = record && { name: request.name, record, revision: stored?.revision ?? 0n };
        return { held: known && this.#shown(namespace, known, storeMs), freedom, storeMs };
      }
      if (record === undefined && view.count(namespace) >= maxLocks) {
        throw limitReached(`namespace ${namespace} has its maximum of ${maxLocks} locks`);
      }
      const storeEpoch = store.status().epoch;
      // A lock that was forgotten had lower tokens: no more were given out than commits made.
      const floor =
        (storeEpoch << 32n) + (record === undefined ? (await store.position(namespace)).revision : 0n);
      const claim = {
        holder: request.holder,
        leaseMs: request.lease === undefined ? DEFAULT_LEASE_MS : msFromDuration(request.lease),
        lockDelayMs: request.lockDelay === undefined ? 0 : msFromDuration(request.lockDelay),
        value: request.value,
        binding: request.bindToSession ? session?.binding : undefined,
      };
      const next = granted(record, claim, { storeMs, storeEpoch, floor });
      const checks: Check[] = [{ key, revision: stored?.revision ?? 0n }];
      if (session !== undefined) {
        checks.push({ key: agentKey(session.known.id), revision: session.known.revision });
      }
      const lock = Object.assign(lockOf(next), { namespace, name: request.name });
      const outcome = await store.commit({
        namespace,
        // The token comes from it: in another one it may have been given out before.
        epoch: storeEpoch,
        checks,
        puts: [{ key, value: encodeLock(next) }],
        ...mutation.record(answer({ lock, storeMs })),
      });
      if (outcome.kind === 'repeated') return repeated(mutation.repeated(outcome), storeMs);
      if (outcome.kind === 'committed')
        return { lock: Object.assign(lock, { revision: outcome.revision }), storeMs };
    }
    throw contention();
  }

  async #change(
    request: RenewLockRequest | ReleaseLockRequest,
    decide: (record: LockRecord, storeMs: number) => LockRecord,
  ): Promise<{ lock: Lock; storeMs: number }> {
    const { store, storeTime } = this.#options;
    const namespace = namespaceOf(request);
    const key = lockKey(request.name);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const stored = await store.get(namespace, key);
      const record = stored && decodeLock(stored.value);
      const storeMs = await storeTime.exact();
      if (
        stored === undefined ||
        record === undefined ||
        !isHeldWith(record, request.fencingToken, storeMs)
      ) {
        throw lockLost(request.name, request.fencingToken, record && lockOf(record));
      }
      const next = decide(record, storeMs);
      const outcome = await store.commit({
        namespace,
        checks: [{ key, revision: stored.revision }],
        puts: [{ key, value: encodeLock(next) }],
      });
      if (outcome.kind !== 'committed') continue;
      const lock = Object.assign(lockOf(next), { namespace, name: request.name, revision: outcome.revision });
      return { lock, storeMs };
    }
    throw contention();
  }

  #known(namespace: string, name: string): Lock | undefined {
    const known = this.#options.view.get(namespace, name);
    return known && this.#shown(namespace, known, this.#options.storeTime.ms());
  }

  #shown(namespace: string, { name, record, revision }: KnownLock, storeMs: number): Lock {
    const lock = Object.assign(create(LockSchema), lockOf(record));
    const expireMs = msOf(lock.expireTime);
    // Its lease has passed: nobody holds it, although nobody else has taken it yet.
    if (expireMs !== undefined && expireMs <= storeMs) lock.held = false;
    const waiters = this.#lines.length(`${namespace}/${name}`);
    return Object.assign(lock, { namespace, name, revision, waiters });
  }
}

function repeated(first: { revision: bigint; response: AcquireLockResponse }, storeMs: number): Granted {
  const { lock } = first.response;
  if (lock === undefined) throw new Error('a remembered grant without its lock');
  lock.revision = first.revision;
  return { lock, storeMs };
}

function answer({ lock, storeMs }: Granted): AcquireLockResponse {
  return create(AcquireLockResponseSchema, { lock, ...leaseLeft(lock, storeMs) });
}

function leaseLeft(lock: Lock, storeMs: number) {
  const expireMs = msOf(lock.expireTime);
  return expireMs === undefined ? {} : { leaseLeft: durationFromMs(Math.max(0, expireMs - storeMs)) };
}

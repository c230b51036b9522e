import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { LockService } from '../../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import type { Random } from '../faults/random.ts';
import { pause } from '../until.ts';
import type { Calls } from './calls.ts';
import type { GuardedResource } from './guarded-resource.ts';
import type { LockAct, LockOp } from './lock-model.ts';

/** A lock with what it protects, and what was done with it. */
export interface GuardedLock {
  name: string;
  resource: GuardedResource;
  history: LockOp[];
}

export interface LockClientOptions {
  name: string;
  calls: Calls;
  random: Random;
  locks: readonly GuardedLock[];
  faults: string[];
  /** The store may lose grants: then somebody else may get the lock within a lease, and the token alone protects. */
  forgetful?: boolean;
}

const LEASE_MS = 1_000;
const MARGIN_MS = 25;

interface Grant {
  lock: GuardedLock;
  token: bigint;
  /** It holds at least until then, unless it is released. */
  untilMs: number;
}

/** Takes locks, writes with their tokens, also when its lease has passed, renews and releases; notes what it was told. */
export class LockClient {
  readonly #options: LockClientOptions;
  #count = 0;

  constructor(options: LockClientOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { random, locks } = this.#options;
    while (!signal.aborted) {
      const grant = await this.#acquire(random.pick(locks));
      if (grant !== undefined) await this.#hold(grant, signal);
      await pause(random.between(5, 60));
    }
  }

  async #acquire(lock: GuardedLock): Promise<Grant | undefined> {
    const { name, calls, random } = this.#options;
    this.#count += 1;
    const request = {
      name: lock.name,
      holder: name,
      lease: durationFromMs(LEASE_MS),
      wait: durationFromMs(random.pick([0, 300, 1500])),
      requestId: `${name}-${this.#count}`,
    };
    const outcome = await calls.make(LockService.method.acquireLock, request, { repeat: random.chance(0.8) });
    const { call } = outcome;
    // Whoever was refused after a try without an answer may have got it with that one, and lost it since.
    if (outcome.kind === 'unknown' || (outcome.kind === 'refused' && outcome.repeats > 0)) {
      this.#note(lock, call, Number.POSITIVE_INFINITY, {
        kind: 'acquire',
        token: undefined,
        leaseMs: LEASE_MS,
      });
    }
    if (outcome.kind !== 'answered') return undefined;
    const token = outcome.response.lock?.fencingToken ?? 0n;
    this.#note(lock, call, outcome.ret, { kind: 'acquire', token, leaseMs: LEASE_MS });
    return { lock, token, untilMs: call + LEASE_MS };
  }

  async #hold(grant: Grant, signal: AbortSignal): Promise<void> {
    const { random } = this.#options;
    for (let turns = random.between(1, 4); turns > 0 && !signal.aborted; turns -= 1) {
      this.#write(grant);
      await pause(random.between(5, 120));
      if (random.chance(0.4) && !(await this.#renew(grant))) return;
    }
    if (random.chance(0.12)) {
      await pause(LEASE_MS + random.between(50, 300));
      this.#write(grant);
      if (random.chance(0.5)) await this.#renew(grant);
      this.#write(grant);
    }
    if (random.chance(0.9)) await this.#release(grant);
  }

  #write({ lock, token, untilMs }: Grant): void {
    const { name, faults, forgetful } = this.#options;
    const accepted = lock.resource.write(token, name);
    if (!accepted && forgetful !== true && performance.now() < untilMs - MARGIN_MS) {
      faults.push(`${name} was refused with ${token} of ${lock.name} within its lease`);
    }
  }

  async #renew(grant: Grant): Promise<boolean> {
    const { lock, token } = grant;
    const { calls } = this.#options;
    const outcome = await calls.make(
      LockService.method.renewLock,
      { name: lock.name, fencingToken: token },
      { repeat: false },
    );
    const act = { kind: 'renew', token, leaseMs: LEASE_MS } as const;
    if (outcome.kind === 'answered') {
      this.#note(lock, outcome.call, outcome.ret, { ...act, ok: true });
      grant.untilMs = Math.max(grant.untilMs, outcome.call + LEASE_MS);
    } else if (outcome.kind === 'unknown') {
      this.#note(lock, outcome.call, Number.POSITIVE_INFINITY, { ...act, ok: true });
    } else if (outcome.reason === 'LOCK_LOST') {
      this.#note(lock, outcome.call, outcome.ret, { ...act, ok: false });
      return false;
    }
    return true;
  }

  async #release({ lock, token }: Grant): Promise<void> {
    const { calls } = this.#options;
    const outcome = await calls.make(
      LockService.method.releaseLock,
      { name: lock.name, fencingToken: token },
      { repeat: false },
    );
    const act = { kind: 'release', token } as const;
    if (outcome.kind === 'answered') this.#note(lock, outcome.call, outcome.ret, { ...act, ok: true });
    else if (outcome.kind === 'unknown') {
      this.#note(lock, outcome.call, Number.POSITIVE_INFINITY, { ...act, ok: true });
    } else if (outcome.reason === 'LOCK_LOST') {
      this.#note(lock, outcome.call, outcome.ret, { ...act, ok: false });
    }
  }

  #note(lock: GuardedLock, call: number, ret: number, act: LockAct): void {
    lock.history.push({ client: this.#options.name, call, ret, act });
  }
}

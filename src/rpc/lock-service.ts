import { LockService } from '../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import type { Locks } from '../domain/coordination/locks/locks.ts';
import { callerOf } from './caller.ts';
import { bindService, type ServiceBinding } from './service.ts';

export function createLockService({ locks }: { locks: Locks }): ServiceBinding {
  return bindService(LockService, {
    acquireLock: (request, context) =>
      locks.acquire(request, callerOf(context), { signal: context.signal, timeLeftMs: context.timeLeftMs() }),
    renewLock: (request) => locks.renew(request),
    releaseLock: (request) => locks.release(request),
    getLock: (request) => locks.get(request),
    listLocks: async (request) => locks.list(request),
  });
}

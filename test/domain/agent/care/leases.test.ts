import { afterEach, expect, it } from 'vitest';
import { CareRecords } from '../../../../src/domain/agent/care/care-records.ts';
import { Leases } from '../../../../src/domain/agent/care/leases.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function replica() {
  const clock = new FakeClock();
  const store = new MemoryStore({ wallMs: () => clock.wallMs() });
  const records = new CareRecords();
  closing.push(
    await store.follow({
      batch: (batch) => records.apply(batch),
      snapshot: (namespace, position, entries) => records.reset(namespace, position, entries),
      live: () => {},
    }),
  );
  const self = { stallMs: () => 0, eventLoopDelayMs: () => 0, storeAvailable: () => true };
  const leases = new Leases({
    ...{ store, clock, self, records, replicaId: 'r1', startMs: 1 },
    replicaAlive: () => true,
  });
  const holders = () => ['a', 'b'].map((namespace) => records.lease(namespace, 'alerts')?.record.replicaId);
  return { store, leases, holders };
}

it('a replica that leaves gives back every lease that it holds, whoever of it asked for it', async () => {
  const { leases, holders } = await replica();
  await leases.acquire('a', 'alerts');
  await leases.acquire('b', 'alerts');
  expect(holders()).toEqual(['r1', 'r1']);
  await leases.leave();
  expect(holders()).toEqual(['', '']);
  expect(await leases.acquire('a', 'alerts')).toBeUndefined();
  expect(holders()).toEqual(['', '']);
});

it('a replica that leaves while it takes a lease gives that back, too', async () => {
  const { store, leases, holders } = await replica();
  let leaving: Promise<void> | undefined;
  store.faults.before = async () => {
    leaving ??= leases.leave();
  };
  expect(await leases.acquire('a', 'alerts')).toBeUndefined();
  await leaving;
  expect(holders()).toEqual(['', undefined]);
});

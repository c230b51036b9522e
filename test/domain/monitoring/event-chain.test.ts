import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  Event_Severity,
  GetEventRequestSchema,
  ListEventsRequestSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { EventLog } from '../../../src/domain/monitoring/event-log.ts';
import { EventWriter, type NewEvent } from '../../../src/domain/monitoring/events.ts';
import { Views } from '../../../src/state/views.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryStore } from '../../support/memory-store.ts';

async function setUp() {
  const clock = new FakeClock();
  const store = new MemoryStore({ wallMs: () => clock.wallMs() });
  const views = new Views({ store, views: [], watchBuffer: 1_000 });
  await views.start();
  const writer = new EventWriter({ replicaId: 'replica-1', wallMs: () => clock.wallMs() });
  const log = new EventLog({ store, views, retentionMs: 60_000 });
  /** Writes events in one commit; returns their ids. */
  const write = async (...events: Partial<NewEvent>[]): Promise<string[]> => {
    const outcome = await store.commit({
      namespace: 'default',
      appends: events.map((event) =>
        writer.append({ type: 't', severity: Event_Severity.INFO, message: 'm', actor: 'a', ...event }),
      ),
    });
    if (outcome.kind !== 'committed') throw new Error('not committed');
    return events.map((_, index) => `${outcome.revision}-${index}`);
  };
  const get = (eventId: string) => log.chain(create(GetEventRequestSchema, { eventId }));
  return { log, write, get };
}

const idsOf = (events: readonly { id: string }[]): string[] => events.map(({ id }) => id);

it('an event is shown between what led to it and all that came of it, also by way of others', async () => {
  const { write, get } = await setUp();
  const [brake = ''] = await write({ type: 'brake.set' });
  const [lost = '', other = ''] = await write({ type: 'agent.lost', causeId: brake }, { type: 'other' });
  const [released = '', task = ''] = await write(
    { type: 'agent.released', causeId: lost },
    { type: 'task.queued', causeId: other },
  );
  const [restarted = ''] = await write({ type: 'agent.restarted', causeId: released });
  await write({ type: 'unrelated' });

  const middle = await get(lost);
  expect(middle.event).toMatchObject({ id: lost, type: 'agent.lost', causeId: brake });
  expect(idsOf(middle.causes)).toEqual([brake]);
  expect(idsOf(middle.consequences)).toEqual([released, restarted]);
  expect(middle.truncated).toBe(false);
  expect(idsOf((await get(restarted)).causes)).toEqual([released, lost, brake]);
  expect(idsOf((await get(brake)).consequences)).toEqual([lost, released, restarted]);
  expect(idsOf((await get(other)).consequences)).toEqual([task]);
});

it('what came of an event is bounded, and says so', async () => {
  const { write, get } = await setUp();
  const [cause = ''] = await write({});
  await write(...Array.from({ length: 256 }, () => ({ causeId: cause })));
  expect(await get(cause)).toMatchObject({ truncated: false });
  await write({ causeId: cause });
  const chain = await get(cause);
  expect([chain.consequences.length, chain.truncated]).toEqual([256, true]);
});

it('causes end after 32, where they are not kept any more, and where they lead forward', async () => {
  const { write, get } = await setUp();
  let [last = ''] = await write({ causeId: '1-7' });
  expect(idsOf((await get(last)).causes)).toEqual([]);
  for (let index = 0; index < 40; index += 1) [last = ''] = await write({ causeId: last });
  expect((await get(last)).causes.length).toBe(32);
  const [itself = ''] = await write({ causeId: '1000000-0' });
  expect(idsOf((await get(itself)).causes)).toEqual([]);
});

it.each(['1000-0', '1-5', '0-0'])('%s is refused where there is no such event', async (id) => {
  const { write, get } = await setUp();
  await write({});
  await expect(get(id)).rejects.toMatchObject({ reason: ErrorReason.EVENT_NOT_FOUND });
});

it('events are listed by what caused them and by whom', async () => {
  const { log, write } = await setUp();
  const [cause = ''] = await write({ actor: 'operator' });
  const [one = '', two = ''] = await write(
    { causeId: cause, actor: 'rule:lease' },
    { causeId: cause, actor: 'rule:phi' },
  );
  await write({ actor: 'rule:lease' });
  const list = async (filter: { causeId?: string; actor?: string }) =>
    idsOf((await log.list(create(ListEventsRequestSchema, { filter }))).events);
  expect(await list({ causeId: cause })).toEqual([two, one]);
  expect(await list({ causeId: cause, actor: 'rule:lease' })).toEqual([one]);
  expect((await list({ actor: 'rule:*' })).length).toBe(3);
  expect(await list({ actor: 'rule' })).toEqual([]);
});

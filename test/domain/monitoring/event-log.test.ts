import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  Event_Severity,
  EventFilterSchema,
  EventSchema,
  ListEventsRequestSchema,
  WatchEventsRequestSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { compileEventFilter, EventLog } from '../../../src/domain/monitoring/event-log.ts';
import { EventWriter } from '../../../src/domain/monitoring/events.ts';
import { encodePageToken, fingerprint } from '../../../src/lib/page-token.ts';
import { timestampFromMs } from '../../../src/lib/proto-time.ts';
import { Views } from '../../../src/state/views.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryStore } from '../../support/memory-store.ts';

const { INFO, WARNING, ERROR } = Event_Severity;

async function setUp() {
  const clock = new FakeClock();
  const store = new MemoryStore({ wallMs: () => clock.wallMs() });
  const views = new Views({ store, views: [], watchBuffer: 1_000 });
  await views.start();
  const writer = new EventWriter({ replicaId: 'replica-1', wallMs: () => clock.wallMs() });
  const log = new EventLog({ store, views, retentionMs: 60_000 });
  const write = (...events: { type: string; agentId?: string; severity?: Event_Severity }[]) =>
    store.commit({
      namespace: 'default',
      appends: events.map(({ severity = INFO, ...event }) =>
        writer.append({ message: 'm', actor: 'a', severity, ...event }),
      ),
    });
  const list = (request: MessageInitShape<typeof ListEventsRequestSchema>) =>
    log.list(create(ListEventsRequestSchema, request));
  return { clock, store, views, log, write, list };
}

const time = timestampFromMs(1_000);
const event = (type: string, severity: Event_Severity = INFO, agentId = 'a1') =>
  create(EventSchema, { type, severity, agentId, time });

describe('an event filter', () => {
  it.each<[string, MessageInitShape<typeof EventFilterSchema>, boolean]>([
    ['nothing', {}, true],
    ['its type', { types: ['agent.lost'] }, true],
    ['another type', { types: ['agent.los', 'agent.lost.x'] }, false],
    ['a prefix', { types: ['x', 'agent.*'] }, true],
    ['every type', { types: ['*'] }, true],
    ['its agent', { agentIds: ['a2', 'a1'] }, true],
    ['another agent', { agentIds: ['a2'] }, false],
    ['its severity', { minSeverity: WARNING }, true],
    ['a higher severity', { minSeverity: ERROR }, false],
    ['a start at its time', { startTime: time }, true],
    ['a start after its time', { startTime: timestampFromMs(1_001) }, false],
    ['an end at its time', { endTime: time }, false],
    ['an end after its time', { endTime: timestampFromMs(1_001) }, true],
    ['one part that fits and one that does not', { types: ['agent.*'], agentIds: ['a2'] }, false],
  ])('of %s decides', (_, filter, expected) => {
    expect(compileEventFilter(create(EventFilterSchema, filter))(event('agent.lost', WARNING))).toBe(
      expected,
    );
  });
});

describe('listing events', () => {
  it('lets others have their turn of the event loop, also where each page takes little of it', async () => {
    const { store, views, write } = await setUp();
    await write(...Array.from({ length: 20 }, () => ({ type: 'agent.lost' })));
    let nowMs = 0;
    const log = new EventLog({ store, views, retentionMs: 60_000, monoMs: () => (nowMs += 1) });
    let turns = 0;
    const count = (): void => {
      turns += 1;
      next = setImmediate(count);
    };
    let next = setImmediate(count);
    for (let pageToken = ''; ; ) {
      const response = await log.list(create(ListEventsRequestSchema, { pageSize: 4, pageToken }));
      pageToken = response.nextPageToken;
      if (pageToken === '') break;
    }
    clearImmediate(next);
    expect(turns).toBeGreaterThanOrEqual(2);
  });

  it('decodes no events of other types', async () => {
    const { store, write, list } = await setUp();
    await write({ type: 'agent.lost' });
    // A type, and then what cannot be decoded.
    const type = Buffer.from('task.done');
    const broken = Buffer.from([34, type.length, ...type, 0x3a, 1, 0xff]);
    await store.commit({ namespace: 'default', appends: [{ series: 'events', value: broken }] });
    await expect(list({})).rejects.toThrow();
    const { events } = await list({ filter: { types: ['agent.*'] } });
    expect(events.map((each) => each.type)).toEqual(['agent.lost']);
  });

  it('gives every event that matches exactly once over the pages, newest first, while new ones come', async () => {
    const type = fc.constantFrom('agent.lost', 'agent.connected', 'store.away');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(type, { minLength: 1, maxLength: 4 }), { maxLength: 30 }),
        fc.integer({ min: 1, max: 7 }),
        fc.constantFrom<string[]>([], ['agent.*'], ['store.away']),
        async (commits, pageSize, types) => {
          const { write, list } = await setUp();
          const expected: string[] = [];
          for (const [at, commit] of commits.entries()) {
            await write(...commit.map((name) => ({ type: name })));
            for (const [index, name] of commit.entries()) {
              const wanted =
                types.length === 0 ||
                (types[0] === 'agent.*' ? name.startsWith('agent.') : name === types[0]);
              if (wanted) expected.unshift(`${at + 1}-${index}`);
            }
          }
          const ids: string[] = [];
          let pageToken = '';
          do {
            const page = await list({ pageSize, pageToken, filter: { types } });
            ids.push(...page.events.map(({ id }) => id));
            expect(page.events.length).toBeLessThanOrEqual(pageSize);
            pageToken = page.nextPageToken;
            await write({ type: 'agent.lost' });
          } while (pageToken !== '');
          expect(ids).toEqual(expected);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('goes on over many events that do not match, in bounded pages', async () => {
    const { write, list } = await setUp();
    await write({ type: 'needle' });
    for (let index = 0; index < 110; index += 1)
      await write(...Array.from({ length: 200 }, () => ({ type: 'hay' })));
    let pages = 0;
    let pageToken = '';
    const found: string[] = [];
    do {
      const page = await list({ pageToken, filter: { types: ['needle'] } });
      found.push(...page.events.map(({ type }) => type));
      pageToken = page.nextPageToken;
      pages += 1;
    } while (pageToken !== '' && pages < 10);
    expect([found, pages]).toEqual([['needle'], 3]);
  });

  it('stops where nothing older can be of interest, allowing for clocks that differ', async () => {
    const { clock, write, list } = await setUp();
    await write({ type: 'old' });
    clock.advance(3_600_000);
    const startMs = clock.wallMs();
    await write({ type: 'new' });
    const { events, nextPageToken } = await list({ filter: { startTime: timestampFromMs(startMs) } });
    expect([events.map(({ type }) => type), nextPageToken]).toEqual([['new'], '']);
  });

  it.each(['x-1', '1', '1-x', '-1-1', '1-1.5', '99999999999999999999999-1'])(
    'refuses the made-up place %s',
    async (after) => {
      const { list } = await setUp();
      const pageToken = encodePageToken({ kind: 'events', fingerprint: fingerprint(['default', []]), after });
      await expect(list({ pageToken })).rejects.toMatchObject({ reason: ErrorReason.INVALID_FIELDS });
    },
  );

  it('refuses the page token of another filter', async () => {
    const { write, list } = await setUp();
    await write({ type: 'a' }, { type: 'b' });
    const { nextPageToken } = await list({ pageSize: 1 });
    await expect(list({ pageToken: nextPageToken, filter: { types: ['a'] } })).rejects.toMatchObject({
      reason: ErrorReason.INVALID_FIELDS,
    });
  });

  it('forgets what is older than the retention', async () => {
    const { clock, log, write, list } = await setUp();
    await write({ type: 'old' });
    clock.advance(60_001);
    await write({ type: 'new' });
    await log.trim();
    expect((await list({})).events.map(({ type }) => type)).toEqual(['new']);
  });

  it('removes all that is older, however much came in a minute', async () => {
    const { log, write, list, clock } = await setUp();
    for (let commit = 0; commit < 5; commit += 1)
      await write(...Array.from({ length: 700 }, () => ({ type: 'many' })));
    clock.advance(61_000);
    await log.trim();
    expect((await list({})).events).toEqual([]);
  });
});

describe('watching events', () => {
  it('begins now, and resumes after its cursor without gap or repetition, also amid a large commit', async () => {
    const { log, write } = await setUp();
    await write({ type: 'before' });
    const caller = new AbortController();
    const feed = log.watch(
      create(WatchEventsRequestSchema, { filter: { types: ['agent.*'] } }),
      caller.signal,
    );
    const synced = (await feed.next()).value;
    expect([synced?.synced, synced?.events.length, synced?.cursor === '']).toEqual([true, 0, false]);
    await write({ type: 'agent.a' }, { type: 'other' }, { type: 'agent.b' });
    const first = (await feed.next()).value;
    expect(first?.events.map(({ id, type }) => `${id} ${type}`)).toEqual(['2-0 agent.a', '2-2 agent.b']);
    await write(...Array.from({ length: 300 }, () => ({ type: 'agent.many' })));
    const part = (await feed.next()).value;
    const rest = (await feed.next()).value;
    expect([part?.events.length, part?.cursor, rest?.events.length]).toEqual([256, '', 44]);
    caller.abort();
    expect((await feed.next()).done).toBe(true);
    const again = log.watch(
      create(WatchEventsRequestSchema, { cursor: first?.cursor ?? '' }),
      new AbortController().signal,
    );
    expect((await again.next()).value?.events[0]?.id).toBe('3-0');
    await again.return();
  });

  it('refuses a cursor of another namespace', async () => {
    const { log, write } = await setUp();
    await write({ type: 'a' });
    const feed = log.watch(create(WatchEventsRequestSchema), new AbortController().signal);
    const cursor = (await feed.next()).value?.cursor ?? '';
    await feed.return();
    const other = log.watch(
      create(WatchEventsRequestSchema, { namespace: 'other', cursor }),
      new AbortController().signal,
    );
    await expect(other.next()).rejects.toMatchObject({ reason: ErrorReason.INVALID_FIELDS });
  });
});

import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type Report,
  ReportSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { EVENT_SERIES, EventWriter, readEvent } from '../../../../src/domain/monitoring/events.ts';
import { DailyReport, lastDue } from '../../../../src/domain/monitoring/report/daily-report.ts';
import type { Window } from '../../../../src/domain/monitoring/report/ports.ts';
import { Background } from '../../../../src/lib/background.ts';
import { silentLogger } from '../../../../src/lib/logger.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const MIDNIGHT = Date.UTC(2026, 0, 15);

describe('the time of a report', () => {
  it.each([
    [MIDNIGHT + 6 * HOUR, '06:00', MIDNIGHT + 6 * HOUR],
    [MIDNIGHT + 6 * HOUR - 1, '06:00', MIDNIGHT - 18 * HOUR],
    [MIDNIGHT + 23 * HOUR, '00:00', MIDNIGHT],
    [MIDNIGHT, '23:59', MIDNIGHT - 60_000],
  ])('at %d with %s was last %d', (now, at, expected) => {
    expect(lastDue(now, at)).toBe(expected);
  });
});

describe('the daily report', () => {
  let store: MemoryStore;
  let nowMs: number;
  let made: [string, Window][];
  beforeEach(() => {
    nowMs = MIDNIGHT + 5 * HOUR;
    store = new MemoryStore({ wallMs: () => nowMs });
    made = [];
  });

  function replica(at = '06:00') {
    const background = new Background({ log: silentLogger });
    const make = async (namespace: string, window: Window): Promise<Report> => {
      made.push([namespace, window]);
      return create(ReportSchema, {
        ...{ namespace, incidentCount: 2, proposals: ['add agents'] },
        figures: [
          { name: 'system_load', avg: 0.25, max: 1 / 3 },
          { name: 'resource_usage (cpu)', avg: 1 },
        ],
      });
    };
    const events = new EventWriter({ replicaId: 'r', wallMs: () => nowMs });
    const report = new DailyReport({
      ...{ store, events, background, at },
      reports: { make },
      log: silentLogger,
    });
    return async (namespace = 'default') => {
      await report.run({ namespace, fence: { key: 'lease/care', revision: 0n }, storeMs: nowMs });
      await background.idle();
    };
  }

  async function reports(namespace = 'default') {
    const entries = await store.readSeries(namespace, EVENT_SERIES, { limit: 100 });
    return entries.map((entry) => readEvent(namespace, entry, entry.value));
  }

  it('is made once a day in each namespace, of the day before, whichever replica looks after it', async () => {
    const [one, two] = [replica(), replica()];
    for (const run of [one, two]) await run();
    expect(made).toEqual([]);
    for (let hour = 0; hour < 48; hour += 1) {
      nowMs += HOUR;
      for (const run of [one, two]) await run();
    }
    const due = MIDNIGHT + 6 * HOUR;
    expect(made).toEqual([
      ['default', { fromMs: due - DAY, toMs: due }],
      ['default', { fromMs: due, toMs: due + DAY }],
    ]);
    const [first] = await reports();
    expect(await reports()).toHaveLength(2);
    expect(first).toMatchObject({
      type: 'report.daily',
      message: 'report of the day: 0 of 0 agents attached, load 0.25 on average, 2 incidents, 1 proposal',
      attributes: {
        start_time: '2026-01-14T06:00:00.000Z',
        end_time: '2026-01-15T06:00:00.000Z',
        incidents: '2',
        'system_load.avg': '0.25',
        'system_load.max': '0.3333',
        'proposal.1': 'add agents',
      },
    });
    expect(first?.attributes).not.toHaveProperty('resource_usage (cpu).avg');
  });

  it('tells of the last day alone after an outage of three, and of none twice when the clock is set back', async () => {
    await replica()();
    nowMs += 3 * DAY + 2 * HOUR;
    await replica()();
    expect(made).toHaveLength(1);
    expect(made[0]?.[1].toMs).toBe(MIDNIGHT + 3 * DAY + 6 * HOUR);
    nowMs -= DAY;
    const run = replica();
    await run();
    nowMs += DAY;
    await run();
    expect(made).toHaveLength(1);
  });

  it('is not made by a replica that lost its lease, nor while the store is away, and comes later', async () => {
    const run = replica();
    await run();
    nowMs += 2 * HOUR;
    store.faults.away = true;
    await run();
    store.faults.away = false;
    await store.commit({ namespace: 'default', puts: [{ key: 'lease/care', value: new Uint8Array() }] });
    nowMs += 61_000;
    await run();
    expect(await reports()).toEqual([]);
    await store.commit({ namespace: 'default', deletes: ['lease/care'] });
    nowMs += 1_000;
    await run();
    expect(await reports(), 'not asked again at once').toEqual([]);
    nowMs += 60_000;
    await run();
    expect(await reports()).toHaveLength(1);
  });

  it('is never made where none is wanted', async () => {
    const run = replica('');
    await run();
    nowMs += 2 * DAY;
    await run();
    expect(await store.namespaces()).toEqual([]);
  });
});

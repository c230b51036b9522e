import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type Alert,
  Alert_State,
  AlertSchema,
  AlertSeverity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  Aggregation,
  MetricReadingSchema,
  MetricScope,
  MetricSeriesSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  type Event,
  EventSchema,
  GetReportRequestSchema,
  type ListEventsRequest,
  ListEventsResponseSchema,
  LivenessCountSchema,
  type QueryMetricsRequest,
  QueryMetricsResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  GetUsageResponseSchema,
  RebalancePlanSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { ReportSources, Window } from '../../../../src/domain/monitoring/report/ports.ts';
import { plain } from '../../../../src/domain/monitoring/report/report-text.ts';
import { Reports } from '../../../../src/domain/monitoring/report/reports.ts';
import { DomainError } from '../../../../src/lib/errors.ts';
import { durationFromMs, timestampFromMs } from '../../../../src/lib/proto-time.ts';
import { StoreUnavailableError } from '../../../../src/state/store.ts';

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 0, 15, 12);

type Init<T extends Parameters<typeof create>[0]> = Exclude<MessageInitShape<T>, { $typeName: string }>;

let events: Event[];
let alerts: Alert[];
let queries: QueryMetricsRequest[];
let windows: Window[];
let sources: ReportSources;
let usage: Init<typeof GetUsageResponseSchema>;

beforeEach(() => {
  events = [];
  alerts = [];
  queries = [];
  windows = [];
  usage = {};
  sources = {
    history: async (request) => {
      queries.push(request);
      const series = (resource: string, values: number[]) =>
        create(MetricSeriesSchema, { resource, points: [{ count: 10n, values }] });
      const found = {
        system_load: [series('', [0.4, 0.1, 0.9, 0.8])],
        resource_usage: [series('cpu', [0.5, 0.2, 0.95, 0.9]), series('gpu', [0.02, 0, 0.05, 0.04])],
      }[request.metric];
      return create(QueryMetricsResponseSchema, { series: found ?? [] });
    },
    sampleMs: HOUR,
    readings: () => [
      create(MetricReadingSchema, { metric: 'system_load', scope: MetricScope.FLEET, value: 0.3 }),
      create(MetricReadingSchema, { metric: 'agent_health', scope: MetricScope.FLEET, value: 1 }),
    ],
    agents: () => [
      create(LivenessCountSchema, { liveness: Agent_Liveness.CONNECTED, count: 4 }),
      create(LivenessCountSchema, { liveness: Agent_Liveness.LOST, count: 1 }),
    ],
    usage: async () => create(GetUsageResponseSchema, usage),
    plan: async () => create(RebalancePlanSchema),
    events: async (request) => create(ListEventsResponseSchema, { events: matching(request) }),
    alerts: () => alerts,
    tasks: async (_, window) => {
      windows.push(window);
      return new Map([
        ['SUCCEEDED', 7n],
        ['PENDING', 1n],
      ]);
    },
  };
});

function matching({ filter }: ListEventsRequest): Event[] {
  return events.filter(({ type }) => filter?.types.includes(type)).reverse();
}

const report = async (request: Init<typeof GetReportRequestSchema> = {}) => {
  const reports = new Reports({ sources, highUsage: 0.7, nowMs: () => NOW });
  const { report: made } = await reports.get(create(GetReportRequestSchema, request));
  if (made === undefined) throw new Error('no report');
  return made;
};

const event = (minute: number, type: string, more: Init<typeof EventSchema> = {}): void => {
  const time = timestampFromMs(NOW - 10 * HOUR + minute * 60_000);
  events.push(
    create(EventSchema, { id: `${events.length + 1}-0`, type, time, message: `${type} happened`, ...more }),
  );
};

const alert = (more: Init<typeof AlertSchema>): void => {
  const fired = timestampFromMs(NOW - 2 * HOUR);
  alerts.push(
    create(AlertSchema, {
      ...{ id: `a${alerts.length}`, rule: 'r', state: Alert_State.FIRING, severity: AlertSeverity.CRITICAL },
      ...{ startTime: fired, fireTime: fired, summary: 'too much' },
      ...more,
    }),
  );
};

describe('a report', () => {
  it('has the four figures over the last day and now, each percentile over all of it', async () => {
    const made = await report();
    expect(queries.map(({ metric }) => metric)).toEqual([
      ...['system_load', 'agent_health', 'communication_latency', 'resource_usage'],
    ]);
    expect(queries[0]).toMatchObject({
      namespace: 'default',
      scope: MetricScope.FLEET,
      startTime: timestampFromMs(NOW - 24 * HOUR),
      endTime: timestampFromMs(NOW),
      aggregations: [Aggregation.AVG, Aggregation.MIN, Aggregation.MAX, Aggregation.P95],
    });
    // All of time is one step.
    expect(Number(queries[0]?.step?.seconds)).toBeGreaterThan(NOW / 1000);
    expect(made.figures).toMatchObject([
      { name: 'system_load', unit: 'ratio', avg: 0.4, min: 0.1, max: 0.9, p95: 0.8, now: 0.3 },
      { name: 'agent_health', now: 1 },
      { name: 'resource_usage (cpu)', max: 0.95 },
      { name: 'resource_usage (gpu)', max: 0.05 },
    ]);
    expect(made.figures[1]?.avg).toBeUndefined();
    expect(made.tasks).toEqual({ SUCCEEDED: 7n, PENDING: 1n });
    expect(made.agents).toHaveLength(2);
    expect(made.text).toContain('4 of 5 agents attached, load 0.40 on average, no incidents');
    expect(made.text).toContain('| system\\_load | 0.30 | 0.40 | 0.10 | 0.90 | 0.80 |'.replace('\\', ''));
  });

  it('is of the window that is asked for, and of nothing that is to come', async () => {
    const window = durationFromMs(2 * HOUR);
    await report({ window, endTime: timestampFromMs(NOW - HOUR) });
    await report({ window, endTime: timestampFromMs(NOW + HOUR) });
    expect(windows).toEqual([
      { fromMs: NOW - 3 * HOUR, toMs: NOW - HOUR },
      { fromMs: NOW - 2 * HOUR, toMs: NOW },
    ]);
  });

  it('is made without history and without moves, and says so', async () => {
    sources.history = async () => {
      throw new StoreUnavailableError({ message: 'away', outcome: 'not_applied', retryAfterMs: 1 });
    };
    sources.plan = async () => {
      throw new DomainError({ reason: ErrorReason.LIMIT_REACHED, message: 'too many agents' });
    };
    const made = await report();
    expect(made.figures.map(({ name, now }) => [name, now])).toEqual([
      ['system_load', 0.3],
      ['agent_health', 1],
    ]);
    expect(made.text).toContain('History could not be read');
    expect(made.text).toContain('Moves were not looked for: too many agents.');
  });

  it('is refused when four are being made', async () => {
    let go = (): void => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    sources.tasks = async () => {
      await gate;
      return new Map();
    };
    const reports = new Reports({ sources, highUsage: 0.7, nowMs: () => NOW });
    const get = () => reports.get(create(GetReportRequestSchema));
    const four = [get(), get(), get(), get()];
    await expect(get()).rejects.toMatchObject({ reason: ErrorReason.LIMIT_REACHED });
    go();
    await Promise.all(four);
    await get();
  });
});

describe('incidents of a report', () => {
  it('are alerts that fired in the window, groups as one, and events that no alert tells of', async () => {
    event(0, 'agent.lost', { agentId: 'a1' });
    event(30, 'operation.stopped', { message: 'operation o1 stopped itself' });
    event(60, 'agent.updated');
    alert({ causeEventId: '1-0', rule: 'agent_lost', summary: 'a1 is lost', groupSize: 0 });
    alert({
      rule: 'brake_engaged',
      summary: 'zone eu-1 cut off',
      groupSize: 300,
      resolveTime: timestampFromMs(NOW),
      state: Alert_State.RESOLVED,
    });
    alert({ groupedUnder: 'a1' });
    alert({ state: Alert_State.PENDING, fireTime: undefined as never });
    alert({ fireTime: timestampFromMs(NOW - 30 * HOUR) });
    const { incidents, incidentCount } = await report();
    expect(incidents.map(({ type, summary, count }) => [type, summary, count])).toEqual([
      ['alert:agent_lost', 'a1 is lost', 1],
      ['alert:brake_engaged', 'zone eu-1 cut off', 300],
      ['operation.stopped', 'operation o1 stopped itself', 1],
    ]);
    expect(incidentCount).toBe(3);
    expect(incidents[1]?.endTime).toEqual(timestampFromMs(NOW));
  });

  it('put together what happened to several agents at once, and say when a brake was lifted', async () => {
    for (let agent = 0; agent < 7; agent += 1) event(agent / 60, 'agent.lost', { agentId: `a${agent}` });
    event(1, 'brake.set', { attributes: { zone: 'eu-1' } });
    event(2, 'brake.set', { attributes: { zone: 'eu-2' } });
    event(5, 'brake.lifted', { attributes: { zone: 'eu-1' } });
    event(40, 'agent.lost', { agentId: 'b', message: 'silent for its lease' });
    const { incidents } = await report();
    expect(incidents.map(({ type, summary, count }) => [type, summary, count])).toEqual([
      ['agent.lost', 'b: silent for its lease', 1],
      ['brake.set', 'brake.set happened', 1],
      ['brake.set', 'brake.set happened', 1],
      ['agent.lost', '7 agents were lost: a0, a1, a2, a3, a4, …', 7],
    ]);
    expect(incidents[1]?.endTime).toBeUndefined();
    expect(incidents[2]?.endTime).toEqual(events[9]?.time);
    expect(incidents[3]?.startTime).toEqual(events[0]?.time);
  });

  it('are at most a hundred, and all are counted', async () => {
    for (let minute = 0; minute < 150; minute += 1) event(minute, 'agent.quarantined', { agentId: 'x' });
    const { incidents, incidentCount, text } = await report();
    expect([incidents.length, incidentCount]).toEqual([100, 150]);
    expect(text).toContain('## Incidents (100 of 150)');
  });

  it('stop at twenty pages of events, and say so', async () => {
    let pages = 0;
    sources.events = async () => {
      pages += 1;
      return create(ListEventsResponseSchema, { nextPageToken: 'more' });
    };
    const { text } = await report();
    expect(pages).toBe(20);
    expect(text).toContain('too many events');
  });
});

describe('proposals of a report', () => {
  it('name what waits and why, what is nearly used up, idle or reserved in vain, and moves', async () => {
    usage = {
      waiting: [
        { reason: PendingReason.NO_ROOM, tasks: 3, oldestTime: timestampFromMs(NOW - 10 * 60_000) },
        { reason: PendingReason.QUOTA, tasks: 1, oldestTime: timestampFromMs(NOW - 5_000) },
        { reason: PendingReason.BACKOFF, tasks: 9, oldestTime: timestampFromMs(NOW - HOUR) },
      ],
      total: [
        { resource: 'cpu', capacity: 100n, reserved: 50n, used: 10n, usedAgents: 2 },
        { resource: 'gpu', capacity: 10n, reserved: 12n, used: 13n, usedAgents: 1, excess: 2n },
      ],
    };
    sources.plan = async () =>
      create(RebalancePlanSchema, {
        summary: '2 agents become empty.',
        moves: [{ gain: 0.5 }, { gain: 0.25 }],
        notMovable: 1,
      });
    const made = await report();
    expect(made.proposals).toEqual([
      '3 tasks wait, the oldest for 10 min (NO_ROOM): the agents that could do them are full: add agents',
      'cpu: up to 95 % were taken, above 70 %: add agents that have it, or lower quotas',
      'cpu: only 20 % of what is reserved are used: reserving 40 less would make room',
      'gpu: 2 more is reserved than there is: move work away, or add agents',
      'gpu: never more than 5 % were taken: fewer agents would do',
      'gpu: 108 % of what is reserved are used: reservations are too small',
      '2 moves would free 75 % of an agent where it is wanted: 2 agents become empty; 1 more task would have to be movable',
    ]);
    expect(made.resources).toMatchObject([
      { resource: 'cpu', capacity: 100n, reserved: 50n, used: 10n, usageAvg: 0.5, usageMax: 0.95 },
      { resource: 'gpu' },
    ]);
  });
});

it.each([
  ['for a few minutes only', 60_000, HOUR, 0.05, false],
  ['for less than a sixth of the window', HOUR / 4, 24 * HOUR, 0.05, false],
  ['for long enough', HOUR / 2, 24 * HOUR, 0.05, true],
  ['for long enough, and never taken', HOUR / 2, 24 * HOUR, 0, false],
])('what was measured %s has fewer agents proposed or not', async (_, sampleMs, windowMs, max, expected) => {
  usage = { total: [{ resource: 'gpu', capacity: 10n }] };
  sources.sampleMs = sampleMs;
  sources.history = async ({ metric }) =>
    create(QueryMetricsResponseSchema, {
      series:
        metric === 'resource_usage'
          ? [{ resource: 'gpu', points: [{ count: 10n, values: [0, 0, max, 0] }] }]
          : [],
    });
  const { proposals } = await report({ window: durationFromMs(windowMs) });
  expect(proposals.some((text) => text.includes('fewer agents would do'))).toBe(expected);
});

describe('the text of a report', () => {
  it('says what is as of now where the window is over', async () => {
    const note = 'are as of now, not of the window';
    expect((await report()).text).not.toContain(note);
    expect((await report({ endTime: timestampFromMs(NOW - HOUR) })).text).toContain(note);
  });

  it.each([
    ['<script>alert(1)</script>', '\\<script\\>alert(1)\\</script\\>'],
    ['[x](http://evil) `a` *b* a|b', '\\[x\\](http://evil) \\`a\\` \\*b\\* a\\|b'],
    ['one\n# two\u001b[31m\u202e', 'one \\# two \\[31m '],
    ['agent_lost of _a_', 'agent_lost of \\_a\\_'],
  ])('gives %j no meaning', (text, expected) => {
    expect(plain(text)).toBe(expected);
  });

  it('stays on its line and bounded, whatever agents are called', async () => {
    event(0, 'agent.lost', { agentId: 'x', message: `a\n## b\n${'😀'.repeat(5_000)}` });
    const { text } = await report();
    expect(text).not.toContain('\n## b');
    expect(text.length).toBeLessThan(3_000);
    expect(text.isWellFormed()).toBe(true);
  });
});

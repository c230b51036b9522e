import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AgentChange_Type } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { Alert_State, AlertSeverity } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type {
  CreateSilenceRequest,
  ListAlertsRequest,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { Aggregation, MetricScope } from '../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  type DiagnoseRequest,
  Event_Severity,
  EventSchema,
  Finding_Severity,
  type ListEventsRequest,
  type QueryMetricsRequest,
  ServiceStatus_State,
  SystemStatus_State,
  SystemStatusSchema,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  type FakeService,
  type FakeServiceOptions,
  startFakeService,
  untilAborted,
} from '../support/fake-service.ts';
import { type CliRun, type CliRunOptions, cli, startCli } from '../support/run-cli.ts';
import { sampleAgent } from '../support/sample-agents.ts';
import { sampleAlert } from '../support/sample-alert.ts';

let service: FakeService | undefined;
let started: CliRun | undefined;
afterEach(async () => {
  started?.interrupt();
  await started?.ended;
  await service?.close();
  started = undefined;
  service = undefined;
});

async function run(argv: readonly string[], fake: FakeServiceOptions, options: CliRunOptions = {}) {
  service = await startFakeService(fake);
  return cli(['--server', service.address, ...argv], options);
}

describe('doctor', () => {
  const finding = {
    check: 'agent_management.review_communications',
    code: 'stuck_deliveries',
    step: 2,
    severity: Finding_Severity.WARNING,
    summary: '1 attached agent takes nothing on: a\u001b[2J1.',
    evidence: ['a1: message d1 has waited for 10 min'],
    advice: 'orchestrator agents explain a1',
    namespace: 'default',
    subjects: ['d1'],
  };
  const well = {
    check: 'integration.check_sinks',
    code: 'ok',
    step: 5,
    severity: Finding_Severity.OK,
    summary: '1 sink.',
  };
  const answer = (severity: Finding_Severity) => ({
    monitoring: {
      diagnose: () => ({
        findings: [finding, well],
        severity,
        replicaId: 'one',
        elapsed: durationFromMs(12),
      }),
    },
  });

  it('shows what was found step by step, with evidence and advice, made harmless, and ends with code 1', async () => {
    const { code, stdout } = await run(['doctor'], answer(Finding_Severity.WARNING));
    expect(code).toBe(1);
    expect(stdout).toContain('2. Verify agent management');
    expect(stdout).toContain('WARNING  1 attached agent takes nothing on: a\\x1b[2J1.');
    expect(stdout).toContain('agent_management.review_communications · stuck_deliveries · namespace default');
    expect(stdout).toContain('- a1: message d1 has waited for 10 min');
    expect(stdout).toContain('→ orchestrator agents explain a1');
    expect(stdout).toContain('OK       check sinks: 1 sink.');
    expect(stdout).toMatch(/1 warning {2}2 checks by one in 12ms\n$/);
    expect(stdout).not.toContain('\u001b');
  });

  it('leaves out what is well with --quiet, and passes on which checks are wanted', async () => {
    let asked: DiagnoseRequest | undefined;
    const { monitoring } = answer(Finding_Severity.WARNING);
    const { stdout } = await run(['doctor', '--quiet', '--check', 'agent_management.*', '-n', 'x'], {
      monitoring: {
        diagnose: (request) => {
          asked = request;
          return monitoring.diagnose();
        },
      },
    });
    expect(stdout).not.toContain('check sinks');
    expect([asked?.namespace, asked?.checks]).toEqual(['x', ['agent_management.*']]);
  });

  it.each([
    [Finding_Severity.OK, 0],
    [Finding_Severity.INFO, 0],
    [Finding_Severity.CRITICAL, 1],
    [Finding_Severity.UNKNOWN, 1],
  ])('with the worst of %i ends with code %i', async (severity, code) => {
    expect((await run(['doctor', '-o', 'json'], answer(severity))).code).toBe(code);
  });
});

describe('alerts', () => {
  it('list pages through all, the worst first as they come, and --check ends with code 1 while one fires', async () => {
    const asked: ListAlertsRequest[] = [];
    const fake: FakeServiceOptions = {
      alerts: {
        listAlerts: (request) => {
          asked.push(request);
          const first = request.pageToken === '';
          const alert = first
            ? sampleAlert({ summary: 'gone\u202e' })
            : sampleAlert({ id: 'alert-2', groupSize: 3 });
          return { alerts: [alert], nextPageToken: first ? 'more' : '', totalSize: 2 };
        },
      },
    };
    const argv = [
      'alerts',
      'list',
      '--check',
      '--rule',
      'agent_lost,brake_engaged',
      '--severity',
      'warning',
      '--agent',
      'a1',
    ];
    const { code, stdout } = await run(argv, fake);
    expect(code).toBe(1);
    expect(stdout).toContain('alert-2');
    expect(stdout).toContain('(explains 3 more)');
    expect(stdout).toContain('gone\\u{202e}');
    expect(asked).toHaveLength(2);
    expect(asked[0]).toMatchObject({
      rules: ['agent_lost', 'brake_engaged'],
      minSeverity: AlertSeverity.WARNING,
      agentId: 'a1',
      withGrouped: false,
    });
  });

  it('get shows what was measured and who was told', async () => {
    const alert = sampleAlert({
      deliveries: [
        { sink: 'pager', told: 'firing', done: false, tries: 4, error: 'answered 500' },
        { sink: 'log', told: 'firing', done: true },
      ],
      acknowledgement: { actor: 'ann', comment: 'on it' },
    });
    const { stdout } = await run(['alerts', 'get', 'alert-1'], { alerts: { getAlert: () => ({ alert }) } });
    expect(stdout).toContain('"firing" is not told, 4 tries: answered 500');
    expect(stdout).toContain('by ann: on it');
    expect(stdout).toContain('https://runbooks.example/agent-lost');
  });

  it('watch shows each change once, also when the whole is told again after the stream broke', async () => {
    let opened = 0;
    service = await startFakeService({
      alerts: {
        async *watchAlerts(_request, { signal }) {
          opened += 1;
          yield { alerts: [sampleAlert()], synced: true };
          if (opened === 1) return;
          yield { alerts: [sampleAlert({ state: Alert_State.RESOLVED })] };
          await untilAborted(signal);
        },
      },
    });
    started = startCli(['--server', service.address, 'alerts', 'watch']);
    await started.shows('RESOLVED');
    started.interrupt();
    expect(await started.ended).toBe(130);
    expect(started.stdout.match(/FIRING/g)).toHaveLength(1);
    expect(started.stderr).toContain('connected again');
  });

  it('ack says who looks after it, under a request id', async () => {
    let given: { alertId: string; comment: string; withdraw: boolean; requestId: string } | undefined;
    const { code, stdout } = await run(['alerts', 'ack', 'alert-1', '-m', 'on it'], {
      alerts: {
        acknowledgeAlert: (request) => {
          given = request;
          return { alert: sampleAlert({ state: Alert_State.ACKNOWLEDGED }) };
        },
      },
    });
    expect([code, stdout]).toEqual([0, 'acknowledged: alert-1  agent a1 is lost\n']);
    expect(given).toMatchObject({ alertId: 'alert-1', comment: 'on it', withdraw: false });
    expect(given?.requestId).not.toBe('');
  });

  it('rules say in words when each fires and clears; sinks how sending goes', async () => {
    const rules = [
      {
        name: 'system_load',
        metric: 'system_load',
        scope: MetricScope.FLEET,
        threshold: 0.8,
        clearThreshold: 0.76,
        firing: 1,
      },
      { name: 'agent_lost', events: ['agent.lost'], clearEvents: ['agent.recovered'], disabled: true },
    ];
    const shown = await run(['alerts', 'rules'], { alerts: { listAlertRules: () => ({ rules }) } });
    expect(shown.stdout).toContain('fleet system_load > 0.80');
    expect(shown.stdout).toContain('≤ 0.76');
    expect(shown.stdout).toContain('agent.lost once');
    await service?.close();
    const sink = {
      name: 'pager',
      kind: 'webhook',
      healthy: false,
      failures: 3,
      waiting: 2,
      error: 'refused',
    };
    const sinks = await run(['alerts', 'sinks'], { alerts: { listAlertSinks: () => ({ sinks: [sink] }) } });
    expect(sinks.stdout).toContain('failed 3×: refused');
  });
});

describe('silences', () => {
  it('create takes matchers, a time and a reason', async () => {
    let given: CreateSilenceRequest | undefined;
    const argv = [
      'silences',
      'create',
      'alertname=agent_lost',
      'zone!=eu-1',
      '--for',
      '2h',
      '-m',
      'power works',
    ];
    const before = Date.now();
    const { stdout } = await run(argv, {
      alerts: {
        createSilence: (request) => {
          given = request;
          return {
            silence: { id: 's1', matchers: request.matchers, endTime: request.endTime, alerts: 2 },
          } as never;
        },
      },
    });
    expect(given?.matchers).toMatchObject([
      { name: 'alertname', value: 'agent_lost', negate: false },
      { name: 'zone', value: 'eu-1', negate: true },
    ]);
    expect([given?.namespace, given?.comment]).toEqual(['default', 'power works']);
    const endMs = Number(given?.endTime?.seconds) * 1000;
    expect(endMs).toBeGreaterThanOrEqual(before + 7_199_000);
    expect(stdout).toContain('silenced: s1  alertname=agent_lost, zone!=eu-1 until');
    expect(stdout).toContain('2 alerts now');
  });

  it.each([
    [['silences', 'create', 'alertname', '--for', '1h', '-m', 'x']],
    [['silences', 'create', 'a=b', '-m', 'x']],
    [['silences', 'create', 'a=b', '--for', '1h']],
  ])('%j is refused before anybody is asked', async (argv) => {
    expect((await run(argv, {})).code).toBe(2);
  });
});

describe('metrics', () => {
  const timeMs = Date.UTC(2026, 7, 3, 12);
  const points = [0, 1, 2, 4].map((value, at) => ({
    time: timestampFromMs(timeMs + at * 60_000),
    values: [value, value + 1],
    count: 6n,
  }));

  it('query shows each series as a line of bars with its extremes, and a blank where nothing was measured', async () => {
    let given: QueryMetricsRequest | undefined;
    const [first, , third, last] = points;
    const { stdout } = await run(
      [
        'metrics',
        'query',
        'communication_latency',
        '--scope',
        'zone',
        '--id',
        'eu-1',
        '--agg',
        'p95',
        '--since',
        '1h',
      ],
      {
        monitoring: {
          queryMetrics: (request) => {
            given = request;
            return {
              series: [{ id: 'eu-1', points: [first, third, last].filter((point) => point !== undefined) }],
              aggregations: request.aggregations,
              step: durationFromMs(60_000),
              metric: { name: 'communication_latency', unit: 'ms' },
            };
          },
        },
      },
    );
    expect(given).toMatchObject({ scope: MetricScope.ZONE, ids: ['eu-1'], aggregations: [Aggregation.P95] });
    expect(stdout).toMatch(/eu-1 +p95 +▁ ▅█ +0\.0ms +4\.0ms +4\.0ms/);
  });

  it('query --points shows each point; metrics of replicas are asked for where they are', async () => {
    let namespace: string | undefined;
    const { stdout } = await run(['metrics', 'query', 'cpu', '--scope', 'replica', '--points'], {
      monitoring: {
        queryMetrics: (request) => {
          namespace = request.namespace;
          return {
            series: [{ id: 'one', points }],
            aggregations: [Aggregation.AVG],
            metric: { name: 'cpu', unit: 'cores' },
          };
        },
      },
    });
    expect(namespace).toBe('_system');
    expect(stdout.trimEnd().split('\n')).toHaveLength(5);
  });
});

describe('topology', () => {
  it('shows with whom each agent has to do, how much, and who is not there', async () => {
    const { stdout } = await run(['topology'], {
      monitoring: {
        getTopology: () => ({
          nodes: [
            {
              id: 'a',
              kind: 'planner',
              agents: 1,
              connected: 1,
              health: 0.97,
              liveness: Agent_Liveness.CONNECTED,
            },
            { id: 'b', missing: true },
            { id: 'lonely', agents: 1 },
          ],
          edges: [
            { fromId: 'a', toId: 'b', relationship: 'DEPENDS_ON', count: 1 },
            { fromId: 'a', toId: 'b', count: 1, rate: 1.5, messages: 90n, failed: 3n },
          ],
          agents: 2,
        }),
      },
    });
    expect(stdout).toMatch(/→ b +NOT REGISTERED +depends on/);
    expect(stdout).toMatch(/messages +1\.50\/s +90 +3/);
    expect(stdout).not.toContain('lonely');
  });
});

describe('events', () => {
  const event = (id: string, causeId = '', type = 'agent.lost') =>
    create(EventSchema, {
      id,
      causeId,
      type,
      message: `m${id}`,
      severity: Event_Severity.ERROR,
      namespace: 'default',
    });

  it('get shows causes above and consequences below, each under what led to it', async () => {
    const { stdout } = await run(['events', 'get', '5-0'], {
      monitoring: {
        getEvent: () => ({
          event: event('5-0', '3-0'),
          causes: [event('3-0', '', 'brake.set')],
          consequences: [
            event('6-0', '5-0', 'task.requeued'),
            event('7-0', '6-0', 'task.assigned'),
            event('8-0', '5-0', 'alert.fired'),
          ],
        }),
      },
    });
    const tree = stdout.split('\n').filter((line) => /m\d-0 {2}\d-0$/.test(line));
    expect(tree.map((line) => line.replace(/^– /, '').replace(/ {2}m.*/, ''))).toEqual([
      'brake.set',
      '└ ▶ agent.lost',
      '  └ task.requeued',
      '    └ task.assigned',
      '  └ alert.fired',
    ]);
  });

  it('are filtered by cause and actor', async () => {
    let given: ListEventsRequest | undefined;
    await run(['events', '--cause', '5-0', '--actor', 'rule:*'], {
      monitoring: {
        listEvents: (request) => {
          given = request;
          return { events: [] };
        },
      },
    });
    expect(given?.filter).toMatchObject({ causeId: '5-0', actor: 'rule:*' });
  });
});

describe('report', () => {
  it('shows figures, resources, what would help and incidents; --markdown its text', async () => {
    const report = {
      namespace: 'default',
      figures: [{ name: 'communication_latency', unit: 'ms', avg: 20, max: 300 }],
      resources: [{ resource: 'slots', capacity: 10n, reserved: 5n, usageAvg: 0.4 }],
      proposals: ['Move 3 tasks: two agents become free.'],
      incidents: [
        { type: 'alert:agent_lost', summary: 'a1 was lost', count: 2, severity: Event_Severity.ERROR },
      ],
      incidentCount: 5,
      text: '# Report\nall\u001b[2J well',
    };
    const { stdout } = await run(['report', '--window', '1d'], {
      monitoring: { getReport: () => ({ report }) },
    });
    expect(stdout).toMatch(/communication_latency +– +20ms +– +300ms/);
    expect(stdout).toContain('- Move 3 tasks');
    expect(stdout).toContain('alert:agent_lost ×2');
    expect(stdout).toContain('and 4 more');
    await service?.close();
    const text = await run(['report', '--markdown'], { monitoring: { getReport: () => ({ report }) } });
    expect(text.stdout).toBe('# Report\nall\\x1b[2J well\n');
  });
});

const status = create(SystemStatusSchema, {
  state: SystemStatus_State.DEGRADED,
  orchestratorId: 'one',
  version: '1.2.3',
  time: timestampFromMs(Date.UTC(2026, 7, 3, 12)),
  reasons: ['2 agents are lost'],
  fleet: { agents: 3, byLiveness: [{ liveness: Agent_Liveness.CONNECTED, count: 3 }] },
  store: { kind: 'redis', available: true, durability: 'disk' },
  replicas: [{ id: 'one', sessions: 3 }],
  readings: [
    { metric: 'system_load', value: 0.42 },
    { metric: 'resource_usage', resource: 'slots', value: 0.7 },
    { metric: 'communication_latency', value: 23 },
  ],
  services: [{ name: 'llm', state: ServiceStatus_State.DOWN, detail: 'connection refused', probe: 'http' }],
  sinks: [{ name: 'pager', healthy: false, failures: 2, error: 'refused' }],
  alerts: [{ severity: AlertSeverity.CRITICAL, firing: 2, acknowledged: 1 }],
});

describe('status', () => {
  it('shows the figures, alerts, sinks that fail, and services', async () => {
    const { stdout } = await run(['status'], { status });
    expect(stdout).toContain('system load 0.42, resource usage (slots) 0.70, communication latency 23ms');
    expect(stdout).toContain('2 CRITICAL, 1 acknowledged');
    expect(stdout).toContain('pager failed 2×: refused');
    expect(stdout).toMatch(/llm +DOWN/);
  });
});

describe('top', () => {
  const agents = (ids: readonly string[]) => ({
    changes: ids.map((id) => ({ type: AgentChange_Type.UPSERTED, agent: sampleAgent(id) })),
    samples: [],
    cursor: '',
    synced: true,
  });
  const fake: FakeServiceOptions = {
    monitoring: {
      async *watchLive(_request, { signal }) {
        yield { part: { case: 'status', value: status }, replicaId: 'one' };
        yield { part: { case: 'agents', value: agents(['a1', 'b2', 'c3']) }, replicaId: 'one' };
        yield {
          part: { case: 'alerts', value: { alerts: [sampleAlert()], synced: true } },
          replicaId: 'one',
        };
        await untilAborted(signal);
      },
    },
  };
  const enter = '\u001b[?1049h';
  const leave = '\u001b[?1049l';

  async function top(options: CliRunOptions = { columns: 100, rows: 24 }): Promise<CliRun> {
    service = await startFakeService(fake);
    started = startCli(['--server', service.address, 'top', '--color', 'never'], options);
    await started.shows('c3');
    return started;
  }

  it('takes the terminal, shows agents, and gives it back on q with code 0', async () => {
    const shown = await top();
    expect(shown.stdout.startsWith(enter)).toBe(true);
    expect(shown.stdout).toContain('2 CRITICAL');
    shown.type('q');
    expect(await shown.ended).toBe(0);
    expect(shown.stdout.endsWith(leave)).toBe(true);
    expect(shown.stdout.split('\u001b[?25h')).toHaveLength(2);
  });

  it.each([
    ['Ctrl-C on the terminal', (shown: CliRun) => shown.type('\u0003'), 0],
    ['a signal', (shown: CliRun) => shown.interrupt(), 130],
  ])('gives the terminal back on %s', async (_name, end, code) => {
    const shown = await top();
    end(shown);
    expect(await shown.ended).toBe(code);
    expect(shown.stdout.endsWith(leave)).toBe(true);
  });

  it('shows alerts, filters, sorts and helps as keys say', async () => {
    const shown = await top();
    shown.type('\t');
    await shown.shows('agent a1 is lost');
    shown.type('1/b2\r');
    await shown.shows('/b2');
    shown.type('\u001b');
    shown.type('ss');
    await shown.shows('by latency');
    shown.type('?');
    await shown.shows('Any key closes this.');
    shown.type('xq');
    expect(await shown.ended).toBe(0);
  });

  it('says when the connection is lost, and shows everything anew when it is back', async () => {
    const shown = await top();
    service?.cut();
    await shown.shows('CONNECTION LOST');
    shown.type('q');
    expect(await shown.ended).toBe(0);
  });

  it('prints the picture once where there is no terminal', async () => {
    const { code, stdout } = await run(['top'], fake);
    expect(code).toBe(0);
    expect(stdout).toContain('2 agents are lost');
    expect(stdout).toContain('c3');
    expect(stdout).not.toContain('\u001b');
  });
});

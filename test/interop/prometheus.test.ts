import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ServiceProcess } from '../support/service.ts';
import { SimAgent } from '../support/sim-agent.ts';
import { fastTimes } from '../support/stack.ts';
import { until } from '../support/until.ts';
import { MonitoringTool } from './monitoring-tools.ts';
import { runTool, suiteWith, suiteWithAll } from './tools.ts';

/** Panels that have something to show of one agent that reports nothing, at one replica. */
const TOLD = [
  ...['Agents connected', 'Agent health', 'Store', 'Agents by liveness', 'Sessions', 'Heartbeats'],
  ...[
    'Communication latency',
    'Calls',
    'Commits',
    'Event loop, p99',
    'CPU',
    'Memory',
    'Open files',
    'Replicas',
  ],
];
const RULES = 'deploy/prometheus/orchestrator.rules.yml';

suiteWithAll(['promtool', 'amtool'], 'the files in deploy', ([promtool, amtool]) => {
  test('are valid for Prometheus and Alertmanager, and the rules do what their tests say', async () => {
    if (promtool === undefined || amtool === undefined) throw new Error('no tools');
    const checks = [
      runTool(promtool, ['check', 'config', 'deploy/prometheus/prometheus.yml']),
      runTool(promtool, ['test', 'rules', 'deploy/prometheus/rules-test.yml']),
      runTool(amtool, ['check-config', 'deploy/alertmanager/alertmanager.yml']),
    ];
    for (const { code, stdout, stderr } of await Promise.all(checks)) expect(code, stdout + stderr).toBe(0);
  });

  test('/metrics is well-formed for Prometheus', async () => {
    if (promtool === undefined) throw new Error('no tool');
    const service = await ServiceProcess.start();
    try {
      const shell = { command: 'sh', args: ['-c', 'curl -s "$1" | "$0" check metrics', promtool.command] };
      const { code, stdout, stderr } = await runTool(shell, [`http://${service.http}/metrics`]);
      expect(code, stdout + stderr).toBe(0);
    } finally {
      await service.stop();
    }
  });
});

interface Answer {
  status: string;
  data: { result: { metric: Record<string, string>; value: [number, string] }[] };
}
interface Rules {
  data: { groups: { rules: { name: string; health: string; lastError?: string; state?: string }[] }[] };
}

suiteWith('prometheus', 'Prometheus with the files in deploy', (tool) => {
  let service: ServiceProcess;
  let agent: SimAgent;
  let prometheus: MonitoringTool;
  beforeAll(async () => {
    service = await ServiceProcess.start({ env: fastTimes });
    agent = new SimAgent({ via: service.grpc, id: 'seen' });
    await agent.join();
    const config = parse(readFileSync('deploy/prometheus/prometheus.yml', 'utf8'));
    config.global = { scrape_interval: '500ms', scrape_timeout: '500ms', evaluation_interval: '500ms' };
    config.rule_files = [resolve(RULES)];
    config.scrape_configs[0].static_configs = [{ targets: [service.http] }];
    delete config.alerting;
    prometheus = await MonitoringTool.start(tool, config, (folder) => [
      `--storage.tsdb.path=${join(folder, 'data')}`,
    ]);
  });
  afterAll(async () => {
    agent?.close();
    await prometheus?.end();
    await service?.stop();
  });

  const query = async (expr: string) =>
    (await prometheus.get(`/api/v1/query?query=${encodeURIComponent(expr)}`)) as Answer;
  const value = async (expr: string) => {
    const [first] = (await query(expr)).data.result;
    return first === undefined ? undefined : Number(first.value[1]);
  };
  const rules = async () =>
    ((await prometheus.get('/api/v1/rules')) as Rules).data.groups.flatMap((group) => group.rules);

  test('scrapes the service, and has its figures', async () => {
    const expected: [string, number][] = [
      ['up{job="orchestrator"}', 1],
      ['orchestrator_agents{liveness="answering"}', 1],
      ['orchestrator_sessions', 1],
      ['orchestrator_store_available', 1],
    ];
    for (const [expr, wanted] of expected) {
      await until(
        () => value(expr),
        (found) => found === wanted,
        { what: `${expr} to be ${wanted}`, timeoutMs: 20_000, everyMs: 100 },
      );
    }
    const health = () => value('orchestrator_agent_health_ratio');
    await until(health, (found) => (found ?? 0) > 0.9, { what: 'health', timeoutMs: 20_000, everyMs: 100 });
  });

  test('evaluates every rule without an error', async () => {
    const wanted = (parse(readFileSync(RULES, 'utf8')) as { groups: { rules: unknown[] }[] }).groups;
    const count = wanted.reduce((sum, group) => sum + group.rules.length, 0);
    const all = await until(
      rules,
      (found) => found.length === count && found.every((one) => one.health === 'ok'),
      {
        ...{ what: 'every rule to be evaluated', timeoutMs: 20_000, everyMs: 100 },
      },
    );
    expect(all.filter(({ state }) => state === 'firing')).toEqual([]);
  });

  test('answers every query of the dashboard', async () => {
    const { panels } = JSON.parse(readFileSync('deploy/grafana/dashboard.json', 'utf8')) as {
      panels: { title: string; targets?: { expr: string }[] }[];
    };
    const variables = (expr: string) =>
      expr
        .replaceAll('$job', 'orchestrator')
        .replaceAll('$instance', '.*')
        .replaceAll('$__rate_interval', '10s');
    for (const { title, targets = [] } of panels) {
      for (const { expr } of targets) expect((await query(variables(expr))).status, title).toBe('success');
    }
    // Others tell of tasks, messages and failures, of which there are none here.
    for (const title of TOLD) {
      const [target] =
        panels.find((panel) => panel.title === title && panel.targets !== undefined)?.targets ?? [];
      expect(target, title).toBeDefined();
      const found = async () => (await query(variables(target?.expr ?? ''))).data.result.length;
      await until(found, (count) => count > 0, { what: title, timeoutMs: 20_000, everyMs: 100 });
    }
  });

  test('notices that the service is gone', async () => {
    await service.kill('SIGKILL');
    const down = async () => (await rules()).find(({ name }) => name === 'OrchestratorReplicaDown')?.state;
    await until(down, (state) => state === 'pending', { what: 'the alert', timeoutMs: 20_000, everyMs: 100 });
  });
});

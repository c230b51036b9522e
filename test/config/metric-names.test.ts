import { expect, it } from 'vitest';
import { MetricScopeSchema } from '../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { loadConfig } from '../../src/config/load.ts';
import { BUILTIN_RULE_NAMES, METRIC_NAMES } from '../../src/config/metric-names.ts';
import { builtinRules } from '../../src/domain/monitoring/alerts/builtin-rules.ts';
import { METRICS } from '../../src/domain/monitoring/figures/catalogue.ts';

it('rules can name exactly the metrics that are measured, of what they are measured', () => {
  const measured = METRICS.map(({ name, scopes, perResource }) => {
    const names = scopes.map((scope) => MetricScopeSchema.value[scope]?.localName.toLowerCase() ?? '');
    return { name, scopes: names, perResource };
  });
  const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
  expect([...METRIC_NAMES].sort(byName)).toEqual(measured.sort(byName));
});

it('the built-in rules that the configuration can change are those that there are, with their thresholds', () => {
  const { alertThresholds } = loadConfig({ env: {}, flags: {} }).config;
  const configured: Record<string, number> = {
    system_load: alertThresholds.systemLoad,
    agent_health: alertThresholds.agentHealth,
    resource_usage: alertThresholds.resourceUsage,
    communication_latency: alertThresholds.communicationLatencyMs,
  };
  const known = BUILTIN_RULE_NAMES.map(({ name, kind, metric, below, threshold }) =>
    kind === 'metric'
      ? { name, kind, metric, below: below === true, threshold: threshold ?? configured[name] }
      : { name, kind },
  );
  const built = builtinRules(alertThresholds).map(({ name, condition }) => {
    if (condition.kind !== 'metric') return { name, kind: condition.kind };
    const { kind, metric, below, threshold } = condition;
    return { name, kind, metric, below, threshold };
  });
  const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
  expect(known.sort(byName)).toEqual(built.sort(byName));
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Alert_State, AlertSeverity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { loadConfig } from '../../../../src/config/load.ts';
import { BUILTIN_RULE_NAMES } from '../../../../src/config/metric-names.ts';
import type { RuleConfig } from '../../../../src/config/monitoring-config.ts';
import { builtinRules } from '../../../../src/domain/monitoring/alerts/builtin-rules.ts';
import {
  compileRules,
  defaultClear,
  publicRule,
} from '../../../../src/domain/monitoring/alerts/compile-rules.ts';
import { isMetricRule } from '../../../../src/domain/monitoring/alerts/rule.ts';
import { silentLogger } from '../../../../src/lib/logger.ts';
import { openLmdbStore } from '../../../../src/state/lmdb/lmdb-store.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { startRig } from './alerts-fixture.ts';

const { config } = loadConfig({ env: {}, flags: {} });
const compiled = (...rules: RuleConfig[]) => compileRules({ ...config, alerts: { ...config.alerts, rules } });

describe('rules', () => {
  it('that are built in are those that the configuration knows', () => {
    const known = builtinRules(config.alertThresholds).map((rule) => ({
      name: rule.name,
      kind: rule.condition.kind,
      ...(isMetricRule(rule) ? { metric: rule.condition.metric, below: rule.condition.below } : {}),
    }));
    expect(known).toEqual(
      BUILTIN_RULE_NAMES.map(({ name, kind, metric, below = false }) => ({
        ...{ name, kind },
        ...(kind === 'metric' ? { metric, below } : {}),
      })),
    );
    for (const { name, threshold } of BUILTIN_RULE_NAMES) {
      const rule = compiled().get(name);
      if (threshold !== undefined && rule !== undefined && isMetricRule(rule))
        expect([name, rule.condition.threshold]).toEqual([name, threshold]);
    }
  });

  it('of the four thresholds have those of the requirements, and clear on their good side', () => {
    const four = ['system_load', 'agent_health', 'resource_usage', 'communication_latency'].map((name) =>
      publicRule(compiled().get(name) as never),
    );
    expect(
      four.map(({ below, threshold, clearThreshold }) => [below, threshold, clearThreshold.toFixed(3)]),
    ).toEqual([
      [false, 0.8, '0.760'],
      [true, 0.9, '0.945'],
      [false, 0.7, '0.665'],
      [false, 1000, '950.000'],
    ]);
  });

  it('are changed by their names in what is given, and no more', () => {
    const changed = compiled(
      { name: 'system_load', above: 0.5, severity: 'critical' },
      { name: 'agent_lost', disabled: true },
    );
    const [load, before] = [changed.get('system_load'), compiled().get('system_load')];
    expect(load).toMatchObject({
      severity: AlertSeverity.CRITICAL,
      builtin: true,
      description: before?.description,
      condition: { threshold: 0.5, clear: 0.475, forMs: 10_000, clearForMs: 30_000 },
    });
    expect(publicRule(changed.get('agent_lost') as never)).toEqual({
      ...publicRule(compiled().get('agent_lost') as never),
      disabled: true,
    });
    expect(compiled({ name: 'agent_health', forMs: 0 }).get('agent_health')).toMatchObject({
      condition: { below: true, threshold: 0.9, forMs: 0 },
    });
  });

  it('of events that nothing ends expire after an hour', () => {
    const expiry = (rule: RuleConfig) => publicRule(compiled(rule).get('r') as never).expireAfter?.seconds;
    expect(expiry({ name: 'r', events: ['task.failed'] })).toBe(3600n);
    expect(expiry({ name: 'r', events: ['task.failed'], clearEvents: ['task.done'] })).toBeUndefined();
    expect(expiry({ name: 'r', events: ['task.failed'], expireAfterMs: 5_000 })).toBe(5n);
  });

  it.each([
    [0.8, false, 0.76],
    [0, false, 0],
    [1, true, 1],
    [0.99, true, 0.995],
    [0.5, true, 0.525],
    [100, true, 105],
  ])('with threshold %d (below: %s) clear at %d', (threshold, below, clear) => {
    expect(defaultClear(threshold, below)).toBeCloseTo(clear);
  });

  it('are judged on a real store, and go on after it was opened again', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'orchestrator-alerts-'));
    const clock = new FakeClock({ wallMs: Date.now() });
    const time = { wallMs: () => clock.wallMs(), monoMs: () => clock.monoMs() };
    const open = () =>
      openLmdbStore({
        directory,
        database: 'agents_db',
        clock: time,
        log: silentLogger,
        onOperation: () => {},
      });
    const rules = [{ name: 'system_load', forMs: 5_000, clearForMs: 0 }];
    let store = await open();
    const first = await startRig({ store, clock, rules });
    await first.putAgents(['a1']);
    await first.settle();
    first.figures.set('system_load', 0.9);
    await first.happen({ type: 'agent.lost', agentId: 'a1' });
    await first.pass(2_000);
    const ids = first.alerts().map(({ id }) => id);
    expect(ids).toHaveLength(2);
    await first.stop();
    await store.close();
    store = await open();
    try {
      const again = await startRig({ store, clock, rules, figures: first.figures, replicaId: 'replica-1' });
      await again.happen({ type: 'agent.recovered', agentId: 'a1' });
      await again.settle();
      await again.pass(4_000);
      expect(
        again
          .alerts()
          .map(({ id }) => id)
          .sort(),
      ).toEqual(ids.sort());
      expect(again.only('system_load').state).toBe(Alert_State.FIRING);
      expect(again.only('agent_lost').state).toBe(Alert_State.RESOLVED);
      await again.stop();
      expect([...first.problems, ...again.problems]).toEqual([]);
    } finally {
      await store.close();
      rmSync(directory, { recursive: true });
    }
  });
});

import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { livenessWords } from '../../src/domain/agent/liveness.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { codeName } from '../../src/telemetry/names.ts';
import { startTelemetry } from '../../src/telemetry/telemetry.ts';
import { useEveryMetric } from '../support/every-metric.ts';

interface Rule {
  record?: string;
  alert?: string;
  expr: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}
interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { expr: string }[];
}

const rulesFile = parse(readFileSync('deploy/prometheus/orchestrator.rules.yml', 'utf8')) as {
  groups: { rules: Rule[] }[];
};
const rules = rulesFile.groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(readFileSync('deploy/grafana/dashboard.json', 'utf8')) as {
  panels: Panel[];
  templating: { list: { definition?: string }[] };
};
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const queries = panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => [title, expr] as [string, string]),
);
const expressions: [string, string][] = [
  ...rules.map(({ record, alert, expr }) => [record ?? alert ?? '', expr] as [string, string]),
  ...queries,
  ...dashboard.templating.list.flatMap(({ definition }) =>
    definition === undefined ? [] : [[definition, definition] as [string, string]],
  ),
];
/** What Prometheus itself adds. */
const ADDED = ['job', 'instance', 'le'];

/** Values that the code writes; what only callers or operators name is left out. */
const VALUES: Record<string, readonly string[]> = {
  liveness: [...livenessNames()],
  alert_state: ['firing', 'acknowledged'],
  sink_outcome: ['sent', 'refused', 'failed'],
  delivery_outcome: ['accepted', 'succeeded', 'failed', 'declined', 'expired', 'tries', 'agent_gone'],
  rpc_response_status_code: Array.from({ length: 17 }, (_, code) => codeName(code)),
  db_operation_name: ['commit'],
};

function* livenessNames(): Generator<string> {
  for (const liveness of Object.values(Agent_Liveness)) {
    if (typeof liveness === 'number') yield livenessWords(liveness).name;
  }
}

/** Labels of each series in /metrics, by its name. */
const series = new Map<string, Set<string>>();

beforeAll(async () => {
  const config = { id: 'r', log: { level: 'info', format: 'json' as const } };
  const telemetry = startTelemetry({ config, version: '1.2.3', env: {}, log: silentLogger });
  try {
    useEveryMetric(telemetry.instruments);
    for (const line of (await telemetry.renderMetrics()).split('\n')) {
      const [, name, labels = ''] = /^([a-z][\w:]*)(?:\{(.*)\})? /.exec(line) ?? [];
      if (name === undefined) continue;
      const known = series.get(name) ?? new Set(ADDED);
      for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label);
      series.set(name, known);
    }
  } finally {
    await telemetry.shutdown();
  }
});

const withoutTexts = (expr: string) => expr.replace(/"(?:[^"\\]|\\.)*"/g, '""');

describe.each(expressions)('deploy: %s', (_, expr) => {
  it('asks for series and labels that /metrics has', () => {
    const plain = withoutTexts(expr);
    const recorded = rules.flatMap(({ record }) => record ?? []);
    const used = [...plain.matchAll(/\b((?:orchestrator|process|up\b)[\w:]*)(?:\{([^}]*)\})?/g)];
    expect(used.length).toBeGreaterThan(0);
    const known = new Set(ADDED);
    for (const [, name = '', matchers = ''] of used) {
      if (name === 'up' || recorded.includes(name)) continue;
      const labels = series.get(name);
      expect(labels, `${name} is not in /metrics`).toBeDefined();
      for (const label of labels ?? []) known.add(label);
      for (const [, label = ''] of matchers.matchAll(/(\w+)\s*[=!]/g))
        expect([...(labels ?? [])]).toContain(label);
    }
    for (const [, list = ''] of plain.matchAll(/\b(?:by|on) \(([^)]*)\)/g)) {
      for (const label of list.split(',')) expect([...known]).toContain(label.trim());
    }
  });
});

describe.each(expressions)('deploy: values in %s', (_, expr) => {
  it('are those that labels can have', () => {
    for (const [, label = '', operator = '', text = ''] of expr.matchAll(
      /(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g,
    )) {
      const possible = VALUES[label];
      if (possible === undefined) continue;
      const asked = operator.includes('~') ? text.split('|') : [text];
      for (const value of asked) expect(possible, label).toContain(value);
    }
  });
});

describe('deploy/prometheus/orchestrator.rules.yml', () => {
  it('has for each alert a severity that Alertmanager routes by, and a summary', () => {
    const alerts = rules.filter(({ alert }) => alert !== undefined);
    expect(alerts.length).toBeGreaterThan(5);
    for (const { alert, labels, annotations } of alerts) {
      expect(['info', 'warning', 'critical'], alert).toContain(labels?.severity);
      expect(annotations?.summary, alert).toMatch(/\w/);
    }
  });
});

describe('deploy/grafana/dashboard.json', () => {
  it('has panels with ids of their own that do not overlap', () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    const taken = new Map<string, string>();
    for (const { title, gridPos } of dashboard.panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.get(`${x},${y}`), title).toBeUndefined();
          taken.set(`${x},${y}`, title);
        }
      }
    }
  });
});

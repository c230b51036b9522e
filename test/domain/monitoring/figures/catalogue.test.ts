import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  type MetricScope,
  MetricScopeSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { METRIC_NAMES } from '../../../../src/config/metric-names.ts';
import { METRICS } from '../../../../src/domain/monitoring/figures/catalogue.ts';

const scopeName = (scope: MetricScope): string =>
  (MetricScopeSchema.value[scope]?.name ?? '').replace('METRIC_SCOPE_', '').toLowerCase();

const catalogue = METRICS.map(({ name, unit, scopes, perResource }) => ({
  ...{ name, unit, perResource },
  scopes: scopes.map(scopeName),
}));

describe('the catalogue of metrics', () => {
  it('is what the configuration knows of metrics', () => {
    expect(METRIC_NAMES).toEqual(
      catalogue.map(({ name, scopes, perResource }) => ({ name, scopes, perResource })),
    );
  });

  it('is what docs/metrics.md describes', () => {
    const text = readFileSync(new URL('../../../../docs/metrics.md', import.meta.url), 'utf8');
    const rows = [...text.matchAll(/^\| `(\w+)` \| (\w+) \| ([^|]+) \| [^|]{10,} \|$/gm)];
    const described = rows.map(([, name, unit, of = '']) => {
      const scopes = of.split(', ').filter((word) => word !== 'by resource');
      return { name, unit, perResource: of.includes('by resource'), scopes };
    });
    expect(described).toEqual(catalogue);
  });
});

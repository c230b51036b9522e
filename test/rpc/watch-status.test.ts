import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { SystemStatusSchema } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { watchStatus } from '../../src/rpc/monitoring-service.ts';

it('a status that stays as it is, is sent again once its update interval is over, and not before', async () => {
  const end = new AbortController();
  const status = create(SystemStatusSchema, { version: '1.2.3' });
  const told: number[] = [];
  for await (const response of watchStatus(() => status, 5, 100, end.signal)) {
    expect(response.status?.version).toBe('1.2.3');
    told.push(performance.now());
    if (told.length === 3) end.abort();
  }
  expect(told).toHaveLength(3);
  // Timers may be late, and never early.
  expect((told[2] ?? 0) - (told[0] ?? 0)).toBeGreaterThanOrEqual(195);
});

import { expect, it } from 'vitest';
import { GrowthWindows } from '../../../../src/domain/monitoring/alerts/growth.ts';

it('windows of what is not measured any more are forgotten', () => {
  const windows = new GrowthWindows();
  const at = (monoMs: number) => ({ storeMs: monoMs, monoMs });
  for (let each = 0; each < 100; each += 1) windows.of(`gone ${each}`, 1, 600_000, at(0));
  windows.of('here', 5, 600_000, at(599_000));
  expect(windows.size).toBe(101);
  expect(windows.of('here', 8, 600_000, at(700_000))).toBe(3);
  expect(windows.size).toBe(1);
});

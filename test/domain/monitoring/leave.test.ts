import { expect, it } from 'vitest';
import { leaveParts } from '../../../src/monitoring.ts';
import { StoreUnavailableError } from '../../../src/state/store.ts';

it('every part of monitoring is left in turn although the store is away for those before', async () => {
  const left: string[] = [];
  const failed: string[] = [];
  const part = (name: string) => async (): Promise<void> => {
    left.push(name);
    throw new StoreUnavailableError({ message: 'away', outcome: 'not_applied', retryAfterMs: 1 });
  };
  await leaveParts(
    {
      services: { leave: part('services') },
      sinks: { close: part('sinks') },
      alerting: { leave: part('alerts') },
      figures: { leave: part('figures') },
      history: { leave: part('history') },
    },
    (name) => failed.push(name),
  );
  expect(left).toEqual(['services', 'sinks', 'alerts', 'figures', 'history']);
  expect(failed).toEqual(left);
});

import { afterEach, describe, expect, it } from 'vitest';
import { Relationship_Type } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { durationFromMs, msFromDuration } from '../../../../src/lib/proto-time.ts';
import type { TestFleet } from '../fleet-fixture.ts';
import { attachMany, confirm, cutOff, fleetsOf, live, setAutomation } from './care-fixture.ts';

const { start, stopAll } = fleetsOf();
afterEach(stopAll);

const explain = (fleet: TestFleet, id: string) => {
  const known = fleet.directory.get('default', id);
  if (known === undefined) throw new Error(`no agent ${id}`);
  return fleet.outlook.explain(known);
};

describe('what is said of an agent that failed', () => {
  it('is what happens next and when, or why it does not', async () => {
    const fleet = await start();
    const members = await attachMany(fleet, 10, (index) =>
      index === 1
        ? {
            relationships: [{ type: Relationship_Type.SUPERVISED_BY, agentId: 'a0' }],
            failurePolicy: { releaseAfter: durationFromMs(600_000), restart: { maxAttempts: 3 } },
          }
        : {},
    );
    await fleet.tend();
    expect(explain(fleet, 'a1')).toMatchObject({ actions: [], failures: [] });
    cutOff(fleet, members.slice(0, 2));
    await live(fleet, 40);
    const { actions, failures, failurePolicy } = explain(fleet, 'a1');
    expect(actions).toEqual([
      expect.stringMatching(/^its work and reservations are taken away: in \d+ s$/),
      'a0 is told to restart it, for the 1. time: waits, because its supervisor a0 is not attached',
    ]);
    expect(failures).toMatchObject([{ kind: 'lost' }]);
    expect(failurePolicy.restart?.maxAttempts).toBe(3);
    expect(msFromDuration(failurePolicy.restart?.maxBackoff ?? durationFromMs(0))).toBe(300_000);
    await setAutomation(fleet, { enabled: false, reason: 'maintenance' });
    for (const action of explain(fleet, 'a1').actions) {
      expect(action).toContain('held back, automation was frozen by operator: maintenance');
    }
    expect(fleet.outlook.freezes('default')).toMatchObject([{ actor: 'operator', reason: 'maintenance' }]);
    expect(fleet.outlook.freezes('other')).toEqual([]);
  });

  it('under the brake is how many wait, how many of them are confirmed, and until when', async () => {
    const fleet = await start({ flags: { 'brake.rate-per-second': '0.01' } });
    const members = await attachMany(fleet, 10);
    await fleet.tend();
    cutOff(fleet, members.slice(0, 6));
    await live(fleet, 35);
    await confirm(fleet, { agentIds: ['a0', 'a1', 'a2'] });
    await live(fleet, 2);
    const [brake, ...others] = fleet.outlook.brakes(undefined);
    expect(others).toEqual([]);
    expect(brake).toMatchObject({
      namespace: 'default',
      zone: '',
      failing: 5,
      agents: 9,
      threshold: 0.5,
      held: 5,
    });
    expect(brake?.confirmed).toBe(2);
    expect(msFromDuration(brake?.releaseIn ?? durationFromMs(0))).toBeGreaterThan(1_700_000);
    expect(explain(fleet, 'a5').actions[0]).toContain('held back, too many agents');
    const confirmed = ['a0', 'a1', 'a2'].flatMap((id) => explain(fleet, id).actions);
    expect(confirmed).toHaveLength(2);
    expect(confirmed[0]).toContain('in its turn, at 0.01 agents a second');
  });
});

import { afterEach, describe, expect, it } from 'vitest';
import { explainAgent } from '../../../src/domain/agent/explain.ts';
import { agentOf } from '../../../src/domain/agent/record.ts';
import { msFromTimestamp } from '../../../src/lib/proto-time.ts';
import { attachMany, cutOff, fleetsOf, live } from './care/care-fixture.ts';

const { start, stopAll } = fleetsOf();
afterEach(stopAll);

describe('the verdicts of an explanation', () => {
  it('come newest first, also one that is not about liveness', async () => {
    const fleet = await start();
    const members = await attachMany(fleet, 20, () => ({
      failurePolicy: { quarantine: { maxFailures: 2 } },
    }));
    await fleet.tend();
    const [one, ...others] = members;
    if (one === undefined) throw new Error('nobody attached');
    for (let failure = 0; failure < 2; failure += 1) {
      cutOff(fleet, [one]);
      await live(fleet, 1);
      await fleet.attach(one.id, one.token, { answers: true });
      await live(fleet, 1);
    }
    await live(fleet, 8);
    expect(others.every(({ id }) => fleet.liveness(id) === fleet.liveness(one.id))).toBe(true);
    const known = fleet.directory.get('default', one.id);
    if (known === undefined) throw new Error('no such agent');
    const session = fleet.sessions.get('default', one.id);
    const { verdicts } = explainAgent({ ...fleet, known, agent: agentOf(known.record), session, exits: [] });
    expect(verdicts.slice(0, 3).map(({ rule }) => rule)).toEqual(['flapping', 'attached', 'stream_closed']);
    const times = verdicts.map(({ time }) => (time === undefined ? 0 : msFromTimestamp(time)));
    expect(times).toEqual([...times].sort((a, b) => b - a));
  });
});

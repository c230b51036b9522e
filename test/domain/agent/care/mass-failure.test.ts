import { afterEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { rejection, type TestFleet } from '../fleet-fixture.ts';
import { attachMany, confirm, cutOff, fleetsOf, live, recordingHook } from './care-fixture.ts';

const { start, stopAll } = fleetsOf();
afterEach(stopAll);

const lost = (fleet: TestFleet): number =>
  [...fleet.directory.all()].filter(({ record }) => record.agent?.liveness === Agent_Liveness.LOST).length;

/** 500 agents of which 300 are cut off, and judged LOST. */
async function cutOffSixty(flags: Record<string, string> = {}) {
  const hook = recordingHook();
  const fleet = await start({ lossHooks: [hook], flags });
  const members = await attachMany(fleet, 500);
  await fleet.tend();
  const gone = members.slice(0, 300);
  cutOff(fleet, gone);
  await live(fleet, 35);
  expect(lost(fleet)).toBe(300);
  return { fleet, hook, members, gone };
}

describe('60 % of 500 agents cut off at once', () => {
  it('set the brake before anything is taken from anyone, and the event says why', async () => {
    const { fleet, hook } = await cutOffSixty();
    expect(hook.taken).toEqual([]);
    const [event, ...others] = fleet.events().filter(({ type }) => type.startsWith('brake.'));
    expect(others).toEqual([]);
    expect(event).toMatchObject({
      type: 'brake.set',
      attributes: { zone: '', agents: '500', threshold: '0.5' },
    });
    await live(fleet, 60);
    expect(hook.taken).toEqual([]);
    expect(fleet.types('a0').filter((type) => type === 'agent.quarantined')).toEqual([]);
  }, 30_000);

  it('are dealt with at the set rate once the loss is confirmed, in random order, and those who return are spared', async () => {
    const { fleet, hook, gone } = await cutOffSixty({ 'brake.rate-per-second': '5' });
    expect(await confirm(fleet, { requestId: 'r1', reason: 'the rack burnt' })).toMatchObject({
      confirmed: 300,
    });
    await live(fleet, 20);
    expect(hook.taken.length).toBeGreaterThanOrEqual(95);
    expect(hook.taken.length).toBeLessThanOrEqual(105);
    const order = hook.taken.map((id) => Number(id.slice(1)));
    expect(order.filter((id, index) => index > 0 && id === (order[index - 1] ?? 0) + 1).length).toBeLessThan(
      10,
    );
    const back = gone.filter(({ id }) => !hook.taken.includes(id)).slice(0, 50);
    for (const { id, token } of back) await fleet.attach(id, token, { answers: true });
    await live(fleet, 60);
    expect(hook.taken.length).toBe(250);
    for (const { id } of back) expect(hook.taken).not.toContain(id);
    expect(new Set(hook.taken).size).toBe(250);
    // A repeat is answered from memory; asked anew, there is nothing left.
    expect(await confirm(fleet, { requestId: 'r1', reason: 'the rack burnt' })).toMatchObject({
      confirmed: 300,
    });
    expect(await rejection(confirm(fleet))).toMatchObject({ reason: ErrorReason.NOTHING_TO_CONFIRM });
    expect(fleet.types().filter((type) => type.startsWith('brake.'))).toEqual(['brake.set', 'brake.lifted']);
  }, 30_000);

  it('of which only some are confirmed: working these off does not lift the brake for the others', async () => {
    const { fleet, hook, gone } = await cutOffSixty({ 'brake.rate-per-second': '100' });
    const some = gone.slice(0, 180).map(({ id }) => id);
    expect(await confirm(fleet, { agentIds: some })).toMatchObject({ confirmed: 180 });
    await live(fleet, 60);
    expect([...hook.taken].sort()).toEqual([...some].sort());
    expect(fleet.types().filter((type) => type.startsWith('brake.'))).toEqual(['brake.set']);
  }, 30_000);

  it('lift the brake when they are back, and then one that is lost is dealt with', async () => {
    const { fleet, hook, gone } = await cutOffSixty();
    for (const { id, token } of gone.slice(1)) await fleet.attach(id, token, { answers: true });
    await live(fleet, 2);
    expect(fleet.types().filter((type) => type.startsWith('brake.'))).toEqual(['brake.set', 'brake.lifted']);
    expect(hook.taken).toEqual(['a0']);
  }, 30_000);

  it('are dealt with at the set rate once the brake has held for its time', async () => {
    const { fleet, hook } = await cutOffSixty({ 'brake.hold': '2m', 'brake.rate-per-second': '2' });
    await live(fleet, 80);
    expect(hook.taken).toEqual([]);
    await live(fleet, 30);
    expect(hook.taken.length).toBeGreaterThan(40);
    expect(hook.taken.length).toBeLessThan(62);
  }, 30_000);
});

describe('agents that were lost one after the other, and whose work is kept for a day', () => {
  it('are no mass failure', async () => {
    const hook = recordingHook();
    const flags = { 'failures.release-after': '1d', 'brake.min-failures': '3' };
    const fleet = await start({ lossHooks: [hook], flags });
    const members = await attachMany(fleet, 8);
    await fleet.tend();
    for (const member of members.slice(0, 5)) {
      cutOff(fleet, [member]);
      await live(fleet, 35);
      fleet.stall(650_000);
      for (const { id } of members) fleet.sessions.get('default', id)?.heard(fleet.clock.monoMs());
      await live(fleet, 2);
    }
    expect(lost(fleet)).toBe(5);
    expect(fleet.types().filter((type) => type.startsWith('brake.'))).toEqual([]);
    expect(fleet.troubles.of('default')).toEqual({ failing: 0, agents: 3 });
  });
});

describe('a zone of which most agents fail', () => {
  it('has a brake of its own, and others go on', async () => {
    const hook = recordingHook();
    const fleet = await start({ lossHooks: [hook] });
    const members = await attachMany(fleet, 60, (index) => ({
      labels: { 'topology.kubernetes.io/zone': index < 10 ? 'east' : 'west' },
    }));
    await fleet.tend();
    cutOff(fleet, [...members.slice(0, 8), ...members.slice(58)]);
    await live(fleet, 40);
    expect([...hook.taken].sort()).toEqual(['a58', 'a59']);
    const [event] = fleet.events().filter(({ type }) => type === 'brake.set');
    expect(event?.attributes).toMatchObject({ zone: 'east', agents: '10' });
    const [verdict] = fleet
      .events('a7')
      .flatMap(({ type, verdict }) => (type === 'agent.lost' ? [verdict] : []));
    expect(verdict?.observer).toMatchObject({ agents: 60, zoneShareInTrouble: 0.8 });
  });
});

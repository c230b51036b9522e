import { afterEach, describe, expect, it } from 'vitest';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { durationFromMs } from '../../../../src/lib/proto-time.ts';
import { rejection } from '../fleet-fixture.ts';
import { attachMany, confirm, cutOff, fleetsOf, live, recordingHook, setAutomation } from './care-fixture.ts';

const { start, stopAll } = fleetsOf();
afterEach(stopAll);

/** Ten agents, one of which is cut off. */
async function oneCutOff() {
  const hook = recordingHook();
  const fleet = await start({ lossHooks: [hook] });
  const members = await attachMany(fleet, 10, () => ({ forgetAfter: durationFromMs(60_000) }));
  await fleet.tend();
  cutOff(fleet, members.slice(0, 1));
  return { fleet, hook, members };
}

describe('frozen automation', () => {
  it('takes nothing from a lost agent and forgets none, until it is enabled', async () => {
    const { fleet, hook } = await oneCutOff();
    expect(await setAutomation(fleet, { enabled: false, reason: 'maintenance' })).toMatchObject({
      enabled: false,
    });
    await live(fleet, 120);
    expect(fleet.types('a0')).toEqual(['agent.connected', 'agent.disconnected', 'agent.lost']);
    expect(hook.taken).toEqual([]);
    expect(await setAutomation(fleet, { enabled: true })).toMatchObject({ enabled: true });
    await live(fleet, 3);
    expect(hook.taken).toEqual(['a0']);
    expect(fleet.record('a0')).toBeUndefined();
    expect(fleet.types().filter((type) => type.startsWith('automation.'))).toEqual([
      'automation.frozen',
      'automation.enabled',
    ]);
  });

  it('holds what was decided before it and not yet stored', async () => {
    const { fleet, hook } = await oneCutOff();
    fleet.store.faults.before = async (commit) => {
      if (commit.puts?.some(({ key }) => key.startsWith('released/')) !== true) return;
      fleet.store.faults.before = undefined;
      await setAutomation(fleet, { enabled: false });
    };
    await live(fleet, 40);
    expect(hook.taken).toEqual(['a0']);
    expect(fleet.types('a0')).not.toContain('agent.loss_handled');
    expect(fleet.store.data.namespaces.get('default')?.entries.has('released/a0')).toBe(false);
  });

  it('ends by itself after its time', async () => {
    const { fleet, hook } = await oneCutOff();
    await setAutomation(fleet, { enabled: false, duration: durationFromMs(50_000) });
    await live(fleet, 45);
    expect(hook.taken).toEqual([]);
    await live(fleet, 10);
    expect(hook.taken).toEqual(['a0']);
    expect(fleet.events().find(({ type }) => type === 'automation.enabled')?.actor).toBe(
      'rule:freeze_expired',
    );
  });

  it('gives a repeat the first answer, and enabling what is not frozen is no event', async () => {
    const { fleet } = await oneCutOff();
    const first = await setAutomation(fleet, { enabled: false, requestId: 'r1' });
    await setAutomation(fleet, { enabled: true });
    expect(await setAutomation(fleet, { enabled: false, requestId: 'r1' })).toEqual(first);
    expect(fleet.records.freeze('default')).toBeUndefined();
    await setAutomation(fleet, { enabled: true });
    expect(fleet.types().filter((type) => type.startsWith('automation.'))).toEqual([
      'automation.frozen',
      'automation.enabled',
    ]);
    const reused = rejection(setAutomation(fleet, { enabled: true, requestId: 'r1' }));
    expect(await reused).toMatchObject({ reason: ErrorReason.REQUEST_ID_REUSED });
  });

  it('cannot be used to make namespaces without bound', async () => {
    const fleet = await start({ flags: { 'limits.max-namespaces': '1' } });
    await fleet.register('a1');
    const refused = await rejection(setAutomation(fleet, { namespace: 'other', enabled: false }));
    expect(refused).toMatchObject({ reason: ErrorReason.LIMIT_REACHED });
  });
});

describe('a confirmed loss', () => {
  it('of nobody is refused, in words', async () => {
    const { fleet } = await oneCutOff();
    const refused = await rejection(confirm(fleet, { zone: 'east' }));
    expect(refused).toMatchObject({ reason: ErrorReason.NOTHING_TO_CONFIRM });
    expect(String(refused)).toContain('zone east');
  });

  it('leaves out those who came back while it was stored', async () => {
    const { fleet, members } = await oneCutOff();
    cutOff(fleet, members.slice(1, 3));
    await fleet.settle();
    const [back] = members;
    fleet.store.faults.before = async (commit) => {
      if (commit.appends?.length !== 1 || commit.checks?.length !== 3) return;
      fleet.store.faults.before = undefined;
      if (back !== undefined) await fleet.attach(back.id, back.token);
    };
    expect(await confirm(fleet)).toMatchObject({ confirmed: 2 });
    expect(fleet.record('a0')?.lossConfirmedEpoch).toBe(0n);
    expect(fleet.record('a1')?.lossConfirmedEpoch).toBe(fleet.record('a1')?.sessionEpoch);
  });

  it('of an agent that came back and failed again is void', async () => {
    const { fleet, members } = await oneCutOff();
    await fleet.settle();
    await confirm(fleet);
    const [agent] = members;
    if (agent !== undefined) await fleet.attach(agent.id, agent.token);
    const record = fleet.record('a0');
    expect(record?.lossConfirmedEpoch).not.toBe(record?.sessionEpoch);
  });
});

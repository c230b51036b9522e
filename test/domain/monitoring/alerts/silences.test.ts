import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  Alert_State,
  type SilenceMatcher,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  AcknowledgeAlertRequestSchema,
  DeleteSilenceRequestSchema,
  ListSilencesRequestSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { timestampFromMs } from '../../../../src/lib/proto-time.ts';
import { type Rig, startRig } from './alerts-fixture.ts';

const ann = { principal: 'ann', token: undefined };
const matcher = (name: string, value: string, negate = false) => ({ name, value, negate }) as SilenceMatcher;

describe('a silence', () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
    await rig.putAgents(['a1', 'a2']);
    await rig.settle();
  });
  afterEach(async () => {
    await rig.stop();
    expect(rig.problems).toEqual([]);
  });
  const lose = async (agentId: string): Promise<string> => {
    await rig.happen({ type: 'agent.lost', agentId });
    await rig.pass(1_000);
    const [alert] = rig.alerts({ agentId });
    if (alert === undefined) throw new Error('no alert');
    return alert.id;
  };

  it('keeps matching alerts from sinks until its end; then those that still fire are told', async () => {
    const { id } = await rig.silence({
      matchers: [matcher('alertname', 'agent_*'), matcher('agent_id', 'a2', true)],
      endTime: timestampFromMs(rig.clock.wallMs() + 10_000),
    });
    const [first, second] = [await lose('a1'), await lose('a2')];
    expect([rig.wants(first), rig.wants(second)]).toEqual([[], ['hook:firing']]);
    expect(rig.alerts({ agentId: 'a1' })[0]).toMatchObject({ state: Alert_State.FIRING, silenceIds: [id] });
    expect(rig.reader.silences(create(ListSilencesRequestSchema)).silences).toMatchObject([
      { id, alerts: 1, actor: 'ann' },
    ]);
    expect(rig.present.counts('default')).toMatchObject([{ firing: 1 }]);
    await rig.pass(9_000);
    expect(rig.wants(first)).toEqual(['hook:firing']);
    expect(rig.reader.silences(create(ListSilencesRequestSchema)).silences).toEqual([]);
    expect(
      rig.reader.silences(create(ListSilencesRequestSchema, { withExpired: true })).silences,
    ).toHaveLength(1);
  });

  it('ended by hand has the same effect, at once, and may be ended twice', async () => {
    const { id } = await rig.silence({ matchers: [matcher('severity', 'warning')] });
    const alert = await lose('a1');
    expect(rig.wants(alert)).toEqual([]);
    const request = create(DeleteSilenceRequestSchema, { silenceId: id, requestId: 'r1' });
    await rig.silences.end(request, ann);
    await rig.pass(1_100);
    expect(rig.wants(alert)).toEqual(['hook:firing']);
    await rig.silences.end(request, ann);
    expect((await rig.events('silence.')).map(({ type }) => type)).toEqual([
      'silence.created',
      'silence.ended',
    ]);
  });

  it('of an alert that was told does not keep its end from the sink', async () => {
    const alert = await lose('a1');
    await rig.silence({ namespace: '', matchers: [matcher('agent_id', 'a1')] });
    await rig.happen({ type: 'agent.recovered', agentId: 'a1' });
    await rig.pass(300);
    expect(rig.wants(alert)).toEqual(['hook:resolved']);
  });

  it.each([
    [[matcher('rule_label', '')], true],
    [[matcher('agent_id', '')], false],
    [[matcher('agent_id', '', true)], true],
    [[matcher('namespace', 'default'), matcher('alertname', 'agent_lost')], true],
    [[matcher('namespace', 'other')], false],
    [[matcher('severity', 'crit*')], false],
    [[matcher('team', '*')], false],
    [[matcher('__proto__', '', true)], false],
  ])('matches by %j: %s', async (matchers, silenced) => {
    await rig.silence({ matchers });
    const id = await lose('a1');
    expect(rig.wants(id)).toEqual(silenced ? [] : ['hook:firing']);
  });

  it.each([
    [0, 'after'],
    [367 * 24 * 3_600_000, 'year'],
  ])('that ends in %i ms is refused', async (ms, words) => {
    const endTime = timestampFromMs(rig.clock.wallMs() + ms);
    await expect(rig.silence({ matchers: [matcher('a', 'b')], endTime })).rejects.toThrow(words);
  });

  it('is one of a thousand at most', async () => {
    for (let n = 0; n < 1_000; n += 1) await rig.silence({ matchers: [matcher('a', `${n}`)] });
    await expect(rig.silence({ matchers: [matcher('a', 'b')] })).rejects.toMatchObject({
      reason: ErrorReason.LIMIT_REACHED,
    });
  });
});

describe('an acknowledgement', () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
    await rig.putAgents(['a1']);
    await rig.settle();
    await rig.happen({ type: 'agent.lost', agentId: 'a1' });
    await rig.pass(1_000);
  });
  afterEach(() => rig.stop());
  const acknowledge = (given: object) =>
    rig.acknowledge.acknowledge(create(AcknowledgeAlertRequestSchema, given), ann);

  it("says who looks after it; the alert is still resolved by itself, and a new one is nobody's", async () => {
    const { id, revision } = rig.only('agent_lost');
    const { alert } = await acknowledge({
      alertId: id,
      comment: 'on it',
      expectedRevision: revision,
      requestId: 'r',
    });
    expect(alert).toMatchObject({
      state: Alert_State.ACKNOWLEDGED,
      acknowledgement: { actor: 'ann', comment: 'on it' },
    });
    expect(rig.only('agent_lost')).toMatchObject({
      state: Alert_State.ACKNOWLEDGED,
      revision: alert?.revision,
    });
    const again = await acknowledge({
      ...{ alertId: id, comment: 'on it', expectedRevision: revision, requestId: 'r' },
    });
    expect(again.alert?.revision).toBe(alert?.revision);
    expect(rig.present.counts(undefined)).toMatchObject([{ firing: 0, acknowledged: 1 }]);
    expect((await rig.events('alert.acknowledged'))[0]).toMatchObject({ actor: 'ann' });
    await rig.happen({ type: 'agent.recovered', agentId: 'a1' });
    await rig.pass(300);
    expect(rig.only('agent_lost').state).toBe(Alert_State.RESOLVED);
    await rig.happen({ type: 'agent.lost', agentId: 'a1' });
    await rig.pass(300);
    expect(rig.alerts({ states: [Alert_State.FIRING] })).toHaveLength(1);
  });

  it('is given back, and refused where there is nothing to acknowledge', async () => {
    const { id } = rig.only('agent_lost');
    await acknowledge({ alertId: id });
    const { alert } = await acknowledge({ alertId: id, withdraw: true });
    expect(alert).toMatchObject({ state: Alert_State.FIRING });
    expect(alert?.acknowledgement).toBeUndefined();
    await expect(acknowledge({ alertId: id, withdraw: true })).rejects.toMatchObject({
      reason: ErrorReason.ALERT_STATE_REFUSED,
    });
    await expect(acknowledge({ alertId: 'none' })).rejects.toMatchObject({
      reason: ErrorReason.ALERT_NOT_FOUND,
    });
    await expect(acknowledge({ alertId: id, expectedRevision: 1n })).rejects.toMatchObject({
      reason: ErrorReason.REVISION_MISMATCH,
    });
    await rig.happen({ type: 'agent.recovered', agentId: 'a1' });
    await rig.pass(300);
    await expect(acknowledge({ alertId: id })).rejects.toMatchObject({ metadata: { state: 'resolved' } });
  });
});

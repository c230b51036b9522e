import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  DeliveryUpdate_State,
  DeliveryUpdateSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type DeliveryRecord,
  DeliveryRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import {
  adopted,
  claimed,
  decideUpdate,
  nextStep,
  type StepInput,
} from '../../../src/domain/coordination/delivery-rules.ts';
import type { KnownDelivery } from '../../../src/domain/coordination/mailboxes.ts';
import { timestampFromMs } from '../../../src/lib/proto-time.ts';

const NOW = 1_000_000;
const E = 7n << 32n;

function delivery(record: Partial<DeliveryRecord> = {}): KnownDelivery {
  const full = create(DeliveryRecordSchema, {
    format: 1,
    id: 'd',
    agentId: 'a',
    maxTries: 3,
    item: { case: 'command', value: { type: 'poke' } },
    ...record,
  } as never);
  return { namespace: 'default', agentId: 'a', id: 'd', record: full, revision: 9n, createdRevision: 5n };
}

const step = (record: Partial<DeliveryRecord>, input: Partial<StepInput> = {}) =>
  nextStep({
    known: delivery(record),
    sessionEpoch: 2n,
    handedOut: undefined,
    held: undefined,
    nowMs: 100,
    storeMs: NOW,
    ...input,
  }).kind;

describe('the next step of a delivery', () => {
  it.each<[string, string, Partial<DeliveryRecord>, Partial<StepInput>]>([
    ['a new one is claimed for the session first', 'claim', {}, {}],
    [
      'one of a kind that this version does not know waits for a replica that does',
      'wait',
      { item: { case: undefined } },
      {},
    ],
    [
      'one that was claimed for this session is sent',
      'send',
      { attempt: 1n, sessionEpoch: 2n, tries: 1 },
      {},
    ],
    [
      'one that was sent waits for its answer',
      'wait',
      { attempt: 1n, sessionEpoch: 2n, tries: 1 },
      { handedOut: { attempt: 1n, dueMs: 200 } },
    ],
    [
      'without an answer in time it is claimed again',
      'claim',
      { attempt: 1n, sessionEpoch: 2n, tries: 1 },
      { handedOut: { attempt: 1n, dueMs: 100 } },
    ],
    [
      'without an answer to the last try it is given up',
      'give_up',
      { attempt: 1n, sessionEpoch: 2n, tries: 3 },
      { handedOut: { attempt: 1n, dueMs: 100 } },
    ],
    [
      'an accepted one is with the agent',
      'wait',
      { attempt: 1n, sessionEpoch: 2n, tries: 1, accepted: true },
      { handedOut: { attempt: 1n, dueMs: undefined } },
    ],
    [
      'one that an earlier session accepted, and that is not held any more, is claimed again',
      'claim',
      { attempt: 1n, sessionEpoch: 1n, tries: 1, accepted: true },
      {},
    ],
    [
      'one that an earlier session accepted, and that is held, stays with the agent',
      'wait',
      { attempt: 1n, sessionEpoch: 1n, tries: 1, accepted: true },
      { held: 1n },
    ],
    [
      'one that is held although nobody knows that it was accepted is adopted',
      'adopt',
      { attempt: 1n, sessionEpoch: 1n, tries: 1 },
      { held: 1n },
    ],
    [
      'an older attempt that is held counts for nothing',
      'claim',
      { attempt: 2n, sessionEpoch: 1n, tries: 2, accepted: true },
      { held: 1n },
    ],
    ['held without an attempt is no hold', 'claim', { attempt: 0n }, { held: 0n }],
    [
      'a declined one waits until it may be tried again',
      'later',
      { attempt: 1n, sessionEpoch: 2n, tries: 1, notBefore: timestampFromMs(NOW + 1) },
      { handedOut: { attempt: 1n, dueMs: undefined } },
    ],
    [
      'then it is claimed',
      'claim',
      { attempt: 1n, sessionEpoch: 2n, tries: 1, notBefore: timestampFromMs(NOW) },
      { handedOut: { attempt: 1n, dueMs: undefined } },
    ],
    [
      'a declined one whose session is over waits too',
      'later',
      { attempt: 1n, sessionEpoch: 1n, tries: 1, notBefore: timestampFromMs(NOW + 1) },
      {},
    ],
    ['an expired one is left to the upkeep', 'wait', { expireTime: timestampFromMs(NOW) }, {}],
    [
      'one that fell back in a failover of the store is claimed with a higher attempt',
      'claim',
      { attempt: 1n, sessionEpoch: 1n, tries: 1 },
      { handedOut: { attempt: 2n, dueMs: undefined } },
    ],
  ])('%s', (_, expected, record, input) => {
    expect(step(record, input)).toBe(expected);
  });
});

describe('attempts', () => {
  it('grow over sessions, and over epochs of the store even where it fell back', () => {
    const first = claimed(delivery(), 2n, 7n, false);
    expect(first.attempt).toBe(E + 1n);
    expect(first.tries).toBe(1);
    const second = claimed({ ...delivery(), record: first }, 3n, 7n, true);
    expect(second.attempt).toBe(E + 2n);
    // The second one was lost with the server; what comes next is above it all the same.
    const third = claimed({ ...delivery(), record: first }, 3n, 8n, true);
    expect(third.attempt).toBe((8n << 32n) + 1n);
  });

  it('keep the place in the mailbox', () => {
    expect(claimed(delivery(), 2n, 7n, false).createdRevision).toBe(5n);
    expect(adopted(delivery({ attempt: 4n }), 2n).createdRevision).toBe(5n);
  });
});

describe('an update', () => {
  const { ACCEPTED, DECLINED, SUCCEEDED, FAILED } = DeliveryUpdate_State;
  const update = (state: DeliveryUpdate_State, retryable = false, attempt = 2n) =>
    create(DeliveryUpdateSchema, { work: { deliveryId: 'd', attempt }, state, retryable });
  const at = (record: Partial<DeliveryRecord> = {}) =>
    delivery({ attempt: 2n, sessionEpoch: 2n, tries: 1, ...record });
  const message = { item: { case: 'message', value: { type: 'm' } } } as never;
  const command = { item: { case: 'command', value: { type: 'c' } } } as never;

  it.each([1n, 3n, 0n])('of attempt %s, when 2 is the present one, is refused', (attempt) => {
    expect(() => decideUpdate(at(), update(SUCCEEDED, false, attempt), NOW)).toThrow('attempt 2');
  });

  it('cannot answer a delivery that was not handed out yet', () => {
    expect(() => decideUpdate(delivery(), update(SUCCEEDED, false, 0n), NOW)).toThrow('attempt');
  });

  it.each([
    ['a message declined for good is a dead letter', message, update(DECLINED), 'declined'],
    ['so is one that failed for good', message, update(FAILED), 'declined'],
    ['a command that was declined is answered, and no dead letter', command, update(DECLINED), undefined],
    ['so is a call', { ...(message as object), wantsAnswer: true } as never, update(FAILED), undefined],
    ['success is no dead letter', message, update(SUCCEEDED), undefined],
  ])('%s', (_, item, said, dead) => {
    expect(decideUpdate(at(item), said, NOW)).toMatchObject({ kind: 'over', dead });
  });

  it('that declines for now has it tried again after a pause that doubles', () => {
    const pauses = [1, 2, 3].map((tries) => {
      const outcome = decideUpdate(at({ tries, maxTries: 10 }), update(DECLINED, true), NOW);
      if (outcome.kind !== 'again') throw new Error(outcome.kind);
      return Number(outcome.record.notBefore?.seconds) * 1000 - NOW;
    });
    expect(pauses).toEqual([1000, 2000, 4000]);
  });

  it('that declines the last try makes a dead letter', () => {
    expect(decideUpdate(at({ ...(message as object), tries: 3 }), update(FAILED, true), NOW)).toMatchObject({
      kind: 'over',
      dead: 'tries',
    });
  });

  it('may accept again and again', () => {
    const outcome = decideUpdate(at({ accepted: true }), update(ACCEPTED), NOW);
    expect(outcome).toMatchObject({ kind: 'accepted', record: { accepted: true } });
  });
});

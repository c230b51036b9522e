import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import {
  type DeliveryRecord,
  DeliveryRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { explainMailbox } from '../../../src/domain/coordination/explain-mailbox.ts';
import type { KnownDelivery } from '../../../src/domain/coordination/mailboxes.ts';
import { timestampFromMs } from '../../../src/lib/proto-time.ts';

const NOW = 1_000_000;
const known = (id: string, record: object = {}): KnownDelivery => ({
  namespace: 'default',
  agentId: 'a',
  id,
  record: create(DeliveryRecordSchema, { id, agentId: 'a', ...record } as Partial<DeliveryRecord> as never),
  revision: 1n,
  createdRevision: 1n,
});
const sight = { storeMs: NOW, attached: true, isWithAgent: () => false };

it.each<[string, object, object, string]>([
  ['a session', {}, { attached: false }, 'the agent to attach'],
  ['the outcome', { accepted: true }, {}, 'its outcome: the agent has taken it on'],
  ['an answer', {}, { isWithAgent: () => true }, "the agent's answer"],
  ['room', {}, {}, "room in the agent's window"],
  ['a pause', { notBefore: timestampFromMs(NOW + 1500) }, {}, 'a pause of 1.5 s: it was declined for now'],
  ['its end', { expireTime: timestampFromMs(NOW) }, {}, 'its time has passed: it is about to be given up'],
  ['another replica', {}, { isWithAgent: undefined }, 'the agent, whose session another replica holds'],
])('a delivery waits for %s', (_, record, more, words) => {
  const [entry] = explainMailbox({ ...sight, deliveries: [known('d', record)], ...more });
  expect(entry?.waitsFor).toBe(words);
});

it('a delivery waits for the one before it of its ordering key, until that is acknowledged', () => {
  const deliveries = [known('d1', { orderingKey: 'k', accepted: true }), known('d2', { orderingKey: 'k' })];
  expect(explainMailbox({ ...sight, deliveries }).at(1)?.waitsFor).toBe("room in the agent's window");
  const before = [known('d1', { orderingKey: 'k' }), known('d2', { orderingKey: 'k' })];
  expect(explainMailbox({ ...sight, deliveries: before }).at(1)?.waitsFor).toBe(
    'd1, which comes before it (ordering key "k")',
  );
});

it('at most 32 are shown', () => {
  const deliveries = Array.from({ length: 40 }, (_, index) => known(`d${index}`));
  expect(explainMailbox({ ...sight, deliveries })).toHaveLength(32);
});

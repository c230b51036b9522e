import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import type { Work } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type Delivery,
  DeliverySchema,
  type DeliveryUpdate,
  DeliveryUpdate_State as State,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { type DeliveryControls, DeliveryDesk, type DeliveryHandler } from '../../src/client/deliveries.ts';

function desk(handler?: DeliveryHandler) {
  const updates: DeliveryUpdate[] = [];
  const errors: unknown[] = [];
  const counters = new Map<string, bigint>();
  const made = new DeliveryDesk({
    handler,
    send: async (effect) => {
      if (effect.case === 'deliveryUpdate') updates.push(effect.value);
    },
    progress: (work: Work, done) => counters.set(work.deliveryId, BigInt(done)),
    dropProgress: (work) => counters.delete(work.deliveryId),
    onError: (error) => errors.push(error),
  });
  return { desk: made, updates, errors, counters };
}

const delivery = (deliveryId: string, attempt: bigint): Delivery =>
  create(DeliverySchema, { work: { deliveryId, attempt } });
const settled = () => new Promise((resolve) => setImmediate(resolve));

test('an agent without a handler declines what it is given, and holds nothing', async () => {
  const { desk: it, updates } = desk();
  it.take(delivery('d', 1n));
  await settled();
  expect(updates).toMatchObject([{ work: { deliveryId: 'd', attempt: 1n }, state: State.DECLINED }]);
  expect(it.held()).toEqual([]);
});

test('a delivery is handled once per attempt, and a repeat of a finished one is answered with its outcome', async () => {
  let calls = 0;
  const { desk: it, updates } = desk(async (_, controls) => {
    calls++;
    await controls.accept();
    await controls.succeed({ data: { case: 'text', value: 'ok' } });
  });
  it.take(delivery('d', 1n));
  it.take(delivery('d', 1n));
  await settled();
  it.take(delivery('d', 1n));
  await settled();
  expect(calls).toBe(1);
  expect(updates.map(({ state }) => state)).toEqual([State.ACCEPTED, State.SUCCEEDED, State.SUCCEEDED]);
  expect(updates[2]?.output?.data).toMatchObject({ case: 'text', value: 'ok' });
});

test('a newer attempt stops the older one, whose outcome is then refused; an older one is ignored', async () => {
  const controls: DeliveryControls[] = [];
  const { desk: it, updates } = desk((_, given) => void controls.push(given));
  it.take(delivery('d', 2n));
  it.take(delivery('d', 1n));
  expect(controls).toHaveLength(1);
  it.take(delivery('d', 3n));
  expect(controls[0]?.signal.aborted).toBe(true);
  expect(controls[1]?.signal.aborted).toBe(false);
  await expect(controls[0]?.succeed()).rejects.toMatchObject({ reason: 'work_over' });
  expect(updates).toEqual([]);
  expect(it.held()).toMatchObject([{ deliveryId: 'd', attempt: 3n }]);
});

test('revoking one attempt stops that one only', () => {
  const controls: DeliveryControls[] = [];
  const { desk: it } = desk((_, given) => void controls.push(given));
  it.take(delivery('a', 1n));
  it.take(delivery('b', 1n));
  it.revoke({ work: { deliveryId: 'a', attempt: 7n } as Work, reason: 'other attempt' });
  it.revoke({ work: { deliveryId: 'b', attempt: 1n } as Work, reason: 'cancelled' });
  expect(controls.map(({ signal }) => signal.aborted)).toEqual([false, true]);
  expect(it.held()).toMatchObject([{ deliveryId: 'a' }]);
});

test.each([
  ['before accepting is a retryable decline', false, State.DECLINED, true],
  ['after accepting is a failure', true, State.FAILED, false],
])('a handler that throws %s', async (_, accepts, state, retryable) => {
  const {
    desk: it,
    updates,
    errors,
  } = desk(async (__, controls) => {
    if (accepts) await controls.accept();
    throw new Error('boom');
  });
  it.take(delivery('d', 1n));
  await settled();
  expect(updates.at(-1)).toMatchObject({ state, error: 'boom', retryable });
  expect(errors).toHaveLength(1);
  expect(it.held()).toEqual([]);
});

test('progress of work ends with the work', async () => {
  const controls: DeliveryControls[] = [];
  const { desk: it, counters } = desk((_, given) => void controls.push(given));
  it.take(delivery('d', 1n));
  controls[0]?.progress(5, 10);
  expect(counters.get('d')).toBe(5n);
  await controls[0]?.fail('no', { retryable: true });
  controls[0]?.progress(6, 10);
  expect(counters.has('d')).toBe(false);
});

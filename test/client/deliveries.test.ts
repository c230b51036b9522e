import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import type { Work } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type Delivery,
  DeliverySchema,
  type DeliveryUpdate,
  DeliveryUpdate_State as State,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { DeliveryDesk } from '../../src/client/deliveries.ts';
import type { DeliveryControls, DeliveryHandler } from '../../src/client/delivery.ts';
import { AgentError, Code } from '../../src/client/errors.ts';

function desk(handler?: DeliveryHandler, commands: DeliveryHandler = () => {}) {
  const updates: DeliveryUpdate[] = [];
  const errors: unknown[] = [];
  const counters = new Map<string, bigint>();
  const answers: ((update: DeliveryUpdate) => Promise<void> | undefined)[] = [];
  const made = new DeliveryDesk({
    handler,
    commands,
    send: async (effect) => {
      if (effect.case !== 'deliveryUpdate') return;
      updates.push(effect.value);
      await answers.at(-1)?.(effect.value);
    },
    progress: (work: Work, done) => counters.set(work.deliveryId, BigInt(done)),
    dropProgress: (work) => counters.delete(work.deliveryId),
    onError: (error) => errors.push(error),
  });
  return { desk: made, updates, errors, counters, answers };
}

const delivery = (deliveryId: string, attempt: bigint): Delivery =>
  create(DeliverySchema, { work: { deliveryId, attempt } });
const order = (deliveryId: string, attempt: bigint): Delivery =>
  create(DeliverySchema, {
    work: { deliveryId, attempt },
    item: { case: 'command', value: { type: 'drain' } },
  });
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

test('an order that comes again while it is carried out goes on, and its newer attempt is answered', async () => {
  const controls: DeliveryControls[] = [];
  let finish = () => {};
  const { desk: it, updates } = desk(undefined, async (_, given) => {
    controls.push(given);
    await given.accept({ running: ['pid 7'] });
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
  });
  it.take(order('o', 1n));
  await settled();
  it.take(order('o', 2n));
  expect(controls).toHaveLength(1);
  expect(controls[0]?.signal.aborted).toBe(false);
  expect(it.held()).toMatchObject([{ attempt: 2n }]);
  finish();
  await settled();
  it.take(order('o', 3n));
  await settled();
  expect(updates.map(({ state, work, running }) => [work?.attempt, state, running])).toEqual([
    [1n, State.ACCEPTED, ['pid 7']],
    [2n, State.ACCEPTED, ['pid 7']],
    [2n, State.SUCCEEDED, []],
    [3n, State.SUCCEEDED, []],
  ]);
  expect(controls, 'the order is carried out once').toHaveLength(1);
});

test.each(['ATTEMPT_STALE', 'DELIVERY_UNKNOWN'])(
  'work that the service does not know as ours (%s) is stopped and forgotten',
  async (reason) => {
    const controls: DeliveryControls[] = [];
    const { desk: it, answers, updates } = desk((_, given) => void controls.push(given));
    answers.push(() => Promise.reject(new AgentError({ code: Code.ABORTED, reason, message: 'no' })));
    it.take(delivery('d', 1n));
    await expect(controls[0]?.accept()).rejects.toMatchObject({ reason });
    expect(controls[0]?.signal.aborted).toBe(true);
    expect(it.held()).toEqual([]);
    await expect(controls[0]?.succeed()).rejects.toMatchObject({ reason: 'work_over' });
    expect(updates).toHaveLength(1);
  },
);

test('a stale answer to an order that has come again meanwhile does not stop it', async () => {
  const controls: DeliveryControls[] = [];
  const { desk: it, answers } = desk(undefined, (_, given) => {
    controls.push(given);
    return new Promise<void>(() => {});
  });
  let refuse = (_: AgentError) => {};
  answers.push(
    () =>
      new Promise((_, reject) => {
        refuse = reject;
      }),
  );
  it.take(order('o', 1n));
  const accepted = controls[0]?.accept();
  answers.push(() => undefined);
  it.take(order('o', 2n));
  refuse(new AgentError({ code: Code.ABORTED, reason: 'ATTEMPT_STALE', message: 'old' }));
  await accepted;
  expect(controls[0]?.signal.aborted).toBe(false);
  expect(it.held()).toMatchObject([{ deliveryId: 'o', attempt: 2n }]);
});

test('an outcome that was not stored yet is still told as held, so that the work is not given away', async () => {
  let stored = () => {};
  const { desk: it, answers } = desk((_, controls) => controls.succeed());
  answers.push(
    () =>
      new Promise((resolve) => {
        stored = resolve;
      }),
  );
  it.take(delivery('d', 4n));
  await settled();
  expect(it.held()).toMatchObject([{ deliveryId: 'd', attempt: 4n }]);
  stored();
  await settled();
  expect(it.held()).toEqual([]);
});

test('what still runs is told in at most 64 lines that the service takes', async () => {
  const { desk: it, updates } = desk(undefined, (_, controls) =>
    controls.accept({ running: ['a\nb\u0007', '', 'x'.repeat(500), ...Array(100).fill('y')] }),
  );
  it.take(order('o', 1n));
  await settled();
  const running = updates[0]?.running ?? [];
  expect(running).toHaveLength(64);
  expect(running[0]).toBe('a b');
  expect(running[1]).toMatch(/^x{127}…$/);
});

test('an order that failed in a way that another try may mend is carried out again when it comes again', async () => {
  let calls = 0;
  const { desk: it, updates } = desk(undefined, async (_, controls) => {
    calls++;
    if (calls === 1) await controls.decline('busy', { retryable: true });
  });
  it.take(order('o', 1n));
  await settled();
  it.take(order('o', 2n));
  await settled();
  expect(updates.map(({ state }) => state)).toEqual([State.DECLINED, State.SUCCEEDED]);
});

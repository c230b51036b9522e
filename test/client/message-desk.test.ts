import type { Message, MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  type DeliverySchema,
  DeliveryUpdate_State as State,
  DeliveryUpdate_StateSchema as StateSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { PermanentError } from '../../src/client/errors.ts';
import type { IncomingMessage, MessageContext } from '../../src/client/message.ts';
import { useAgent } from './agent-fixture.ts';

const fixture = useAgent();

type Fields = Exclude<MessageInitShape<typeof DeliverySchema>, Message>;

const nameOf = (state: State) => StateSchema.value[state]?.localName;

function deliver(id: string, more: Fields & { source?: string; type?: string } = {}): void {
  const { source = 's', type = 't', ...fields } = more;
  const value = { id: `m-${id}`, source, type, data: { data: { case: 'text' as const, value: 'd' } } };
  fixture.network.stream.down({
    case: 'delivery',
    value: {
      work: { deliveryId: id, attempt: 1n },
      acceptWithin: { seconds: 10n },
      item: { case: 'message', value },
      ...fields,
    },
  });
}

const updates = () => fixture.network.stream.frames('deliveryUpdate');
const states = () => updates().map(({ work, state }) => `${work?.deliveryId} ${nameOf(state)}`);

/** A handler that is done when it is told. */
function held() {
  const running = new Map<string, { context: MessageContext; done: (output?: string) => void }>();
  const order: string[] = [];
  const handler = ({ id }: IncomingMessage, context: MessageContext) => {
    order.push(id);
    return new Promise<string | undefined>((resolve) => {
      running.set(id.slice(2), {
        context,
        done: (output) => {
          running.delete(id.slice(2));
          resolve(output);
        },
      });
    });
  };
  const done = async (id: string, output?: string) => {
    running.get(id)?.done(output);
    await fixture.pass(0);
  };
  return { handler, running, order, done };
}

describe('a message and its handler', () => {
  it('that is quick is answered by its outcome alone; one that takes longer is taken on first', async () => {
    const { handler, done } = held();
    await fixture.connected({ onMessage: { '*': handler, quick: () => {} } });
    deliver('q', { type: 'quick' });
    await fixture.pass(0);
    expect(states()).toEqual(['q SUCCEEDED']);
    deliver('d');
    await fixture.pass(20);
    expect(states().slice(1)).toEqual(['d ACCEPTED']);
    await done('d');
    expect(states().slice(2)).toEqual(['d SUCCEEDED']);
  });

  it('gets what came with it; what it resolves to is the answer of a call, and nothing of a message', async () => {
    const seen: unknown[] = [];
    await fixture.connected({
      onMessage: {
        '*': ({ id, source, topic, data, contentType }, { attempt, wantsAnswer, deadline }) => {
          seen.push({
            id,
            source,
            topic,
            data,
            contentType,
            attempt,
            wantsAnswer,
            left: deadline && +deadline - Date.now(),
          });
          return { ok: true };
        },
      },
    });
    deliver('m', { topic: 'news' });
    deliver('c', { wantsAnswer: true, timeLeft: { seconds: 5n } });
    await fixture.pass(0);
    const same = { source: 's', data: 'd', contentType: 'text/plain', attempt: 1n };
    expect(seen).toEqual([
      { id: 'm-m', topic: 'news', wantsAnswer: false, left: undefined, ...same },
      { id: 'm-c', topic: '', wantsAnswer: true, left: 5_000, ...same },
    ]);
    expect(updates().map(({ output }) => output?.data.case)).toEqual([undefined, 'json']);
  });

  it.each([
    ['throws', new Error('no'), false, { state: State.FAILED, error: 'no', retryable: true }],
    [
      'throws for good',
      new PermanentError('never'),
      false,
      { state: State.FAILED, error: 'never', retryable: false },
    ],
    ['throws at a call', new Error('no'), true, { state: State.FAILED, error: 'no', retryable: false }],
    ['throws anything', 'text', false, { state: State.FAILED, error: 'text', retryable: true }],
  ])('that %s says so', async (_, error, wantsAnswer, update) => {
    await fixture.connected({
      onMessage: {
        '*': () => {
          throw error;
        },
      },
    });
    deliver('d', { wantsAnswer });
    await fixture.pass(0);
    expect(updates()).toMatchObject([update]);
  });

  it('declines, for good or for now; without a handler it is declined by its type', async () => {
    await fixture.connected({
      onMessage: {
        now: (_, context) => context.decline('busy', { retryable: true }),
        never: (_, context) => context.decline('not me'),
      },
    });
    deliver('a', { type: 'now' });
    deliver('b', { type: 'never', source: 's2' });
    deliver('c', { type: 'other', source: 's3' });
    await fixture.pass(0);
    expect(updates()).toMatchObject(
      expect.arrayContaining([
        expect.objectContaining({ state: State.DECLINED, error: 'busy', retryable: true }),
        expect.objectContaining({ state: State.DECLINED, error: 'not me', retryable: false }),
        expect.objectContaining({ error: 'this agent has no handler for messages of type other' }),
      ]),
    );
  });

  it('whose answer is no content has failed', async () => {
    await fixture.connected({ onCall: { '*': () => ({ big: 1n }) } });
    deliver('d', { wantsAnswer: true });
    await fixture.pass(0);
    expect(updates()).toMatchObject([{ state: State.FAILED }]);
  });
});

describe('many messages', () => {
  it('run at most maxInFlight at a time, those of one key one after the other, and the rest is accepted in time', async () => {
    const { handler, running, order, done } = held();
    await fixture.connected({ maxInFlight: 2, onMessage: { '*': handler } });
    deliver('a1', { source: 'a' });
    deliver('a2', { source: 'a' });
    deliver('b1', { source: 'b' });
    deliver('c1', { source: 'c', orderingKey: 'k' });
    deliver('k1', { source: 'd', orderingKey: 'k' });
    expect([...running.keys()]).toEqual(['a1', 'b1']);
    await fixture.pass(20);
    expect(states()).toEqual(['a1 ACCEPTED', 'b1 ACCEPTED']);
    await fixture.pass(5_000);
    expect(states().slice(2)).toEqual(['a2 ACCEPTED', 'c1 ACCEPTED', 'k1 ACCEPTED']);
    await done('b1');
    expect([...running.keys()]).toEqual(['a1', 'c1']);
    await done('a1');
    expect([...running.keys()]).toEqual(['c1', 'a2']);
    await done('c1');
    await done('a2');
    await done('k1');
    expect(order).toEqual(['m-a1', 'm-b1', 'm-c1', 'm-a2', 'm-k1']);
  });

  it('calls of one sender run side by side', async () => {
    const { handler, running } = held();
    await fixture.connected({ maxInFlight: 2, onMessage: { '*': handler } });
    deliver('x', { wantsAnswer: true });
    deliver('y', { wantsAnswer: true });
    expect([...running.keys()]).toEqual(['x', 'y']);
  });

  it('one that is revoked while it waits never begins, and makes room', async () => {
    const { handler, order, done } = held();
    await fixture.connected({ onMessage: { '*': handler } });
    for (const id of ['x', 'y', 'z']) deliver(id, { source: id });
    fixture.network.stream.down({ case: 'revoke', value: { work: { deliveryId: 'y', attempt: 1n } } });
    await done('x');
    expect(order).toEqual(['m-x', 'm-z']);
    expect(states().filter((state) => state.startsWith('y'))).toEqual([]);
  });
});

describe('the signal of a handler', () => {
  it('fires when the delivery is revoked, and what it does then is not told', async () => {
    const { handler, running, done } = held();
    await fixture.connected({ onMessage: { '*': handler } });
    deliver('d');
    const signal = running.get('d')?.context.signal;
    fixture.network.stream.down({
      case: 'revoke',
      value: { work: { deliveryId: 'd', attempt: 1n }, reason: 'gone' },
    });
    expect(signal?.reason).toMatchObject({ reason: 'work_revoked', message: 'gone' });
    await done('d');
    expect(states()).toEqual([]);
  });

  it('fires at the deadline, which the service tells by itself', async () => {
    let signal: AbortSignal | undefined;
    await fixture.connected({
      onCall: {
        '*': (_, context) => {
          signal = context.signal;
          return new Promise((_resolve, reject) => {
            context.signal.addEventListener('abort', () => reject(context.signal.reason));
          });
        },
      },
    });
    deliver('d', { wantsAnswer: true, timeLeft: { seconds: 1n } });
    await fixture.pass(999);
    expect(signal?.aborted).toBe(false);
    await fixture.pass(1);
    expect(signal?.reason).toMatchObject({ reason: 'deadline_passed' });
    expect(states()).toEqual(['d ACCEPTED']);
  });

  it('fires when the agent counts as lost', async () => {
    const { handler, running } = held();
    await fixture.connected({ onMessage: { '*': handler } });
    deliver('d');
    const signal = running.get('d')?.context.signal;
    fixture.lost();
    await fixture.pass(29_000);
    expect(signal?.aborted).toBe(false);
    await fixture.pass(1_500);
    expect(signal?.reason).toMatchObject({ reason: 'lease_expired' });
  });
});

describe('a message that comes again', () => {
  it('in the same attempt is answered from memory, in a newer one too, unless it failed for now', async () => {
    const seen: string[] = [];
    await fixture.connected({
      onMessage: {
        fine: ({ id }) => void seen.push(id),
        flaky: ({ id }) => {
          seen.push(id);
          throw new Error('again');
        },
      },
    });
    for (const attempt of [1n, 1n, 2n]) {
      deliver('a', { type: 'fine', work: { deliveryId: 'a', attempt } });
      await fixture.pass(0);
    }
    for (const attempt of [1n, 2n]) {
      deliver('b', { type: 'flaky', work: { deliveryId: 'b', attempt } });
      await fixture.pass(0);
    }
    expect(seen).toEqual(['m-a', 'm-b', 'm-b']);
    expect(updates().map(({ work, state }) => `${work?.attempt} ${nameOf(state)}`)).toEqual([
      '1 SUCCEEDED',
      '1 SUCCEEDED',
      '2 SUCCEEDED',
      '1 FAILED',
      '2 FAILED',
    ]);
  });

  it('while it is being handled goes on, and the newer attempt is answered', async () => {
    const { handler, order, done } = held();
    await fixture.connected({ onMessage: { '*': handler } });
    deliver('d');
    deliver('d', { work: { deliveryId: 'd', attempt: 2n } });
    await done('d');
    expect(order).toEqual(['m-d']);
    expect(updates()).toMatchObject([{ work: { attempt: 2n }, state: State.SUCCEEDED }]);
  });
});

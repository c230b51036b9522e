import { beforeEach, describe, expect, it } from 'vitest';
import { DeliveryUpdate_State as State } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentRecords } from './agent-records.ts';
import { type Aftermath, MessageBook, type Outgoing } from './message-book.ts';

let book: MessageBook;
let records: Map<string, AgentRecords>;
let attempts: number;

beforeEach(() => {
  book = new MessageBook();
  records = new Map(['a1', 'a2'].map((id) => [id, new AgentRecords(id)]));
  attempts = 0;
});

function message(id: string, more: Partial<Outgoing> = {}): Outgoing {
  const to = { case: 'agentId' as const, value: 'a1' };
  return {
    ...{ id, source: 'ann', content: `content of ${id}`, key: 'ann', group: new Set(['a1']) },
    ...{ everyone: false, expires: false, request: { to } },
    ...more,
  };
}

function send(outgoing: Outgoing, deliveryId = `d-${outgoing.id}`, agentId = 'a1'): void {
  book.tried(outgoing);
  const receivers = outgoing.everyone ? outgoing.group.size : 1;
  book.acknowledged(outgoing.id, {
    ...{ receivers, agentId: outgoing.everyone ? '' : agentId },
    ...{ deliveryId: outgoing.everyone ? '' : deliveryId, revision: BigInt(++attempts) },
  });
}

function come(
  messageId: string,
  more: { deliveryId?: string; receiver?: string; content?: string } = {},
): void {
  const { deliveryId = `d-${messageId}`, receiver = 'a1', content = `content of ${messageId}` } = more;
  attempts += 1;
  const attempt = BigInt(attempts);
  records.get(receiver)?.delivered({ deliveryId, attempt } as never, 1n, undefined);
  book.arrived({ receiver, messageId, source: 'ann', content, deliveryId, attempt, current: true });
}

function said(messageId: string, state: State, receiver = 'a1', deliveryId = `d-${messageId}`): void {
  const forGood = state === State.DECLINED;
  records.get(receiver)?.said({ deliveryId, attempt: BigInt(attempts), state, forGood });
}

const wrong = (more: Partial<Aftermath> = {}): string[] => [
  ...book.faults,
  ...book.wrong({ records, dead: [], movedFrom: new Set(), ...more }),
];
const letter = (messageId: string, reason: string, agentId = 'a1') => ({
  ...{ agentId, deliveryId: `d-${messageId}`, messageId, reason },
});

describe('the book of messages finds nothing wrong', () => {
  it('when all came once or again, in order, and was done', () => {
    for (const id of ['m1', 'm2']) send(message(id));
    for (const id of ['m1', 'm1', 'm2']) {
      come(id);
      said(id, State.SUCCEEDED);
    }
    expect(wrong()).toEqual([]);
  });

  it('with what was not acknowledged, came or not', () => {
    book.tried(message('m1'));
    book.tried(message('m2'));
    come('m1');
    expect(wrong()).toEqual([]);
  });

  it('with what was declined, and what expired and was to', () => {
    send(message('m1'));
    come('m1');
    said('m1', State.DECLINED);
    send(message('m2', { expires: true }));
    expect(wrong({ dead: [letter('m1', 'declined'), letter('m2', 'expired')] })).toEqual([]);
  });

  it('with another order of what was given to another agent, or repeated later', () => {
    const able = { case: 'capability' as const, value: 'c' };
    const group = new Set(['a1', 'a2']);
    send(message('m1', { group, request: { to: able } }));
    send(message('m2', { group, request: { to: able } }), 'd-m2', 'a2');
    for (const id of ['m2', 'm1']) {
      come(id, { receiver: 'a2' });
      said(id, State.SUCCEEDED, 'a2');
    }
    expect(wrong()).toEqual([]);
  });
});

it('the book of messages of a store that falls back lets what was sent again come again, under the same name', () => {
  book = new MessageBook({ fallsBack: true });
  const able = { case: 'capability' as const, value: 'c' };
  const group = new Set(['a1', 'a2']);
  const outgoing = message('m1', { group, request: { to: able } });
  book.tried(outgoing);
  come('m1', { deliveryId: 'msg1-x-1' });
  send(outgoing, 'msg1-x-2', 'a2');
  come('m1', { deliveryId: 'msg1-x-2', receiver: 'a2' });
  said('m1', State.SUCCEEDED, 'a2', 'msg1-x-2');
  expect(wrong()).toEqual([]);
  const other = message('m2');
  book.tried(other);
  come('m2', { deliveryId: 'msg1-y-1' });
  send(other, 'msg1-z-1');
  come('m2', { deliveryId: 'msg1-z-1' });
  said('m2', State.SUCCEEDED, 'a1', 'msg1-z-1');
  expect(wrong()[0]).toContain('came to a1 as msg1-y-1 and msg1-z-1');
});

describe('the book of messages finds', () => {
  it('one that was acknowledged and has no end', () => {
    send(message('m1'));
    expect(wrong()).toEqual([expect.stringContaining('has no end')]);
  });

  it('one that one of many receivers did not get', () => {
    send(message('m1', { everyone: true, group: new Set(['a1', 'a2']) }));
    come('m1');
    said('m1', State.SUCCEEDED);
    expect(wrong()).toEqual([expect.stringContaining('has no end at a2')]);
  });

  it('another order, by revision, by acknowledgement and on one session', () => {
    send(message('m1'));
    send(message('m2'));
    for (const id of ['m3', 'm4']) book.tried(message(id, { key: 'k' }), 'session 1');
    for (const id of ['m3', 'm4']) book.acknowledged(id);
    book.tried(message('m5', { key: 'k' }), 'session 2');
    for (const id of ['m2', 'm1', 'm4', 'm3']) {
      come(id);
      said(id, State.SUCCEEDED);
    }
    expect(wrong()).toEqual([
      expect.stringContaining('m2 came before m1'),
      expect.stringContaining('m4 came before m3'),
    ]);
  });

  it('one message as two deliveries', () => {
    send(message('m1'));
    for (const deliveryId of ['d-m1', 'x']) {
      come('m1', { deliveryId });
      said('m1', State.SUCCEEDED, 'a1', deliveryId);
    }
    expect(wrong()[0]).toContain('came to a1 as d-m1 and x');
  });

  it.each([
    ['a delivery of two messages', { deliveryId: 'd-m1' }, 'which was m1'],
    ['another content', { content: 'x' }, 'with "x"'],
    ['a receiver whom it is not for', { receiver: 'a2' }, 'which was not for it'],
  ])('%s', (_, how, words) => {
    send(message('m1'));
    come('m1');
    said('m1', State.SUCCEEDED);
    book.tried(message('m2'));
    come('m2', how);
    expect(wrong().join()).toContain(words);
  });

  it('what nobody sent, and what was refused', () => {
    come('m0');
    book.tried(message('m1'));
    book.refused('m1');
    come('m1');
    expect(wrong()).toEqual([
      expect.stringContaining('which nobody sent'),
      expect.stringContaining('was refused each time'),
    ]);
  });

  it.each(['tries', 'declined', 'expired', 'agent_gone'])('a dead letter for no reason: %s', (reason) => {
    send(message('m1'));
    expect(wrong({ dead: [letter('m1', reason)] })).toEqual([expect.stringContaining('for no reason')]);
  });

  it('a dead letter of what was done', () => {
    send(message('m1', { expires: true }));
    come('m1');
    said('m1', State.SUCCEEDED);
    const update = { deliveryId: 'd-m1', attempt: BigInt(attempts), state: State.SUCCEEDED };
    records.get('a1')?.answered(update, { code: 0, reason: '' } as never);
    expect(wrong({ dead: [letter('m1', 'expired')] })).toEqual([expect.stringContaining('was done by a1')]);
  });
});

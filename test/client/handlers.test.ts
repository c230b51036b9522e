import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  type Delivery,
  DeliverySchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { Handlers, HandlerTable } from '../../src/client/handlers.ts';
import type { MessageHandler } from '../../src/client/message.ts';
import { contentTypeOf, fromPayload, toPayload } from '../../src/client/payloads.ts';

const handler = (name: string): MessageHandler => Object.assign(() => name, { called: name });
const nameOf = (found: MessageHandler | undefined) => (found as { called?: string } | undefined)?.called;

test.each([
  ['order.paid', 'order.paid'],
  ['order.paid.late', 'order.paid.*'],
  ['order.sent', 'order.*'],
  ['order.sent.late', 'order.*'],
  ['order', '*'],
  ['orders.sent', '*'],
])('%s is taken by the handler of %s: the closest pattern counts', (type, pattern) => {
  const patterns = ['order.paid', 'order.paid.*', 'order.*', '*'];
  const table = new HandlerTable(Object.fromEntries(patterns.map((each) => [each, handler(each)])));
  expect(nameOf(table.get(type))).toBe(pattern);
});

test.each(['', 'a*', '*.a', 'a.*.b', '**'])('"%s" is no pattern', (pattern) => {
  expect(() => new HandlerTable().add(pattern, handler('x'))).toThrow(RangeError);
});

test('the latest handler of a pattern counts, and without it the one before', () => {
  const table = new HandlerTable({ a: handler('first') });
  const remove = table.add('a', handler('second'));
  expect(nameOf(table.get('a'))).toBe('second');
  remove();
  remove();
  expect(nameOf(table.get('a'))).toBe('first');
});

test('a topic comes before a call, a call before a type; only messages have handlers', () => {
  const handlers = new Handlers({
    onMessage: { '*': handler('message') },
    onCall: { 'a.*': handler('call') },
  });
  handlers.topics.add('news.*', handler('topic'));
  const of = (fields: Partial<Delivery>, type = 'a.b') =>
    nameOf(
      handlers.of(
        create(DeliverySchema, { item: { case: 'message', value: { type } }, ...(fields as object) }),
      ),
    );
  expect(of({})).toBe('message');
  expect(of({ wantsAnswer: true })).toBe('call');
  expect(of({ wantsAnswer: true }, 'b')).toBe('message');
  expect(of({ topic: 'news.today' })).toBe('topic');
  expect(of({ topic: 'other' })).toBe('message');
  expect(handlers.of(create(DeliverySchema, { item: { case: 'task', value: {} } }))).toBeUndefined();
});

test.each([
  ['text', 'hello', 'text/plain'],
  ['', '', 'text/plain'],
  ['bytes', Uint8Array.of(0, 255), 'application/octet-stream'],
  ['an object', { a: [1, null, { b: 'c' }] }, 'application/json'],
  ['a number', 1.5, 'application/json'],
  ['null', null, 'application/json'],
])('%s comes out as it went in', (_, content, contentType) => {
  const payload = toPayload(content);
  expect(fromPayload(payload)).toEqual(content);
  expect(contentTypeOf(payload)).toBe(contentType);
});

test('content is what JSON makes of it; nothing stays nothing, and what is no content is refused', () => {
  expect(fromPayload(toPayload({ at: new Date(0), gone: undefined }))).toEqual({
    at: '1970-01-01T00:00:00.000Z',
  });
  expect(toPayload(undefined)).toBeUndefined();
  expect(fromPayload(undefined)).toBeUndefined();
  expect(contentTypeOf(toPayload('x', 'text/html'))).toBe('text/html');
  expect(() => toPayload(() => {})).toThrow(TypeError);
  expect(() => toPayload(1n)).toThrow(TypeError);
});

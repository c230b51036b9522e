import { connect } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, test } from 'vitest';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type SendMessageRequest,
  SendMessageResponseSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { validateRequest } from '../../src/domain/validation/requests.ts';
import type { TraceHeaders } from '../../src/http/events.ts';
import { DomainError } from '../../src/lib/errors.ts';
import { fakePipeline } from '../rpc/fakes.ts';
import { failureOf, startHttp } from './http-support.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Taken {
  request: SendMessageRequest;
  principal: string;
  trace: TraceHeaders | undefined;
}

/** The route with the service's own rules; messages of type "muted", "throttled" and "crash" are refused. */
async function setUp(options: { maxMessageBytes?: number } = {}) {
  const taken: Taken[] = [];
  const server = await startHttp([], {
    fake: fakePipeline({ validate: validateRequest }),
    ...options,
    events: {
      validate: validateRequest,
      send: async (request, context, trace) => {
        const type = request.send?.message?.type;
        if (type === 'muted')
          throw new DomainError({ reason: ErrorReason.LINK_MUTED, message: 'it is muted' });
        if (type === 'throttled')
          throw new DomainError({
            reason: ErrorReason.LINK_THROTTLED,
            message: 'slowly',
            retryAfterMs: 1500,
          });
        if (type === 'crash') throw new Error('secret /etc/passwd');
        taken.push({ request, principal: context.principal.name, trace });
        return create(SendMessageResponseSchema, {
          messageId: request.send?.message?.id ?? '',
          receivers: 1,
          agentId: 'a-1',
          revision: 7n,
        });
      },
    },
  });
  cleanups.push(() => server.listener.close({ graceMs: 0 }));
  const post = (query: string, headers: Record<string, string>, body?: string | Buffer) =>
    fetch(`${server.url}/events${query}`, {
      method: 'POST',
      headers,
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : new Uint8Array(body) }),
    });
  const only = () => {
    const [one, ...more] = taken;
    const message = one?.request.send?.message;
    if (one === undefined || message === undefined || more.length > 0) throw new Error('not one event');
    return { ...one, message };
  };
  return { ...server, taken, only, post };
}

const ATTRIBUTES = {
  'ce-specversion': '1.0',
  'ce-id': 'e-1',
  'ce-source': '/sensors/1',
  'ce-type': 'com.example.hot',
};
const TO = '?to=agent:a-1';
const STRUCTURED = { 'content-type': 'application/cloudevents+json' };
const BATCH = { 'content-type': 'application/cloudevents-batch+json; charset=utf-8' };
const event = (more: object = {}) => ({
  ...{ specversion: '1.0', id: 'e-1', source: '/sensors/1', type: 'com.example.hot' },
  ...more,
});

describe('an event in the binary mode', () => {
  test('is a message: attributes from headers, the body as its data', async () => {
    const { post, only } = await setUp();
    const token = `orch1.${Buffer.from('default/a-9').toString('base64url')}.secret`;
    const response = await post(
      '?to=topic:sensors.hot&namespace=lab&session_epoch=12',
      {
        ...ATTRIBUTES,
        'ce-subject': 'r%C3%B6om%201',
        'ce-time': '2026-11-22T10:00:00Z',
        'ce-partitionkey': '"a \\"quoted\\" key"',
        'content-type': 'application/json; charset=UTF-8',
        authorization: `Bearer ${token}`,
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        tracestate: 'x=1',
      },
      '{"celsius": 81.5}',
    );
    expect(response.status).toBe(202);
    expect(await response.json()).toEqual({
      message_id: 'e-1',
      receivers: 1,
      agent_id: 'a-1',
      delivery_id: '',
      revision: '7',
      muted: 0,
      throttled: 0,
    });
    const { request, message, principal, trace } = only();
    expect(request).toMatchObject({ namespace: 'lab', sessionEpoch: 12n });
    expect(request.send?.to).toEqual({ case: 'topic', value: 'sensors.hot' });
    expect(message).toMatchObject({
      id: 'e-1',
      source: '/sensors/1',
      type: 'com.example.hot',
      subject: 'röom 1',
      extensions: { time: '2026-11-22T10:00:00Z', partitionkey: 'a "quoted" key' },
    });
    expect(Object.keys(message.extensions)).toHaveLength(2);
    expect(message.data).toMatchObject({
      contentType: 'application/json; charset=UTF-8',
      data: { case: 'json', value: { kind: { value: { fields: { celsius: { kind: { value: 81.5 } } } } } } },
    });
    expect(principal).toBe('agent:default/a-9');
    expect(trace).toEqual({
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'x=1',
    });
  });

  test.each([
    ['text of a text type', 'text/plain', 'hé', { case: 'text', value: 'hé' }],
    [
      'bytes of any other type',
      'image/png',
      Buffer.from([1, 2, 255]),
      { case: 'binary', value: Uint8Array.of(1, 2, 255) },
    ],
    [
      'bytes where text is not UTF-8',
      'text/plain',
      Buffer.from([0xc3]),
      { case: 'binary', value: Uint8Array.of(0xc3) },
    ],
    ['JSON of a type with +json', 'application/x+json', '[1]', { case: 'json' }],
  ])('has %s as data', async (_, contentType, body, data) => {
    const { post, only } = await setUp();
    expect((await post(TO, { ...ATTRIBUTES, 'content-type': contentType }, body)).status).toBe(202);
    const got = only().message.data;
    expect(got?.contentType).toBe(contentType);
    expect(
      got?.data.case === 'binary' ? { ...got.data, value: Uint8Array.from(got.data.value) } : got?.data,
    ).toMatchObject(data);
  });

  test('without a body has no data, and its own extension may name the target', async () => {
    const { post, only } = await setUp();
    const response = await post('', { ...ATTRIBUTES, 'ce-orchestratorto': 'capability:sum' });
    expect(response.status).toBe(202);
    expect(only().message).toMatchObject({ extensions: {} });
    expect(only().message.data).toBeUndefined();
    expect(only().request.send?.to).toEqual({ case: 'capability', value: 'sum' });
  });
});

describe('an event in the structured mode', () => {
  // The examples of the JSON Event Format 1.0.2, sections 3.1 and 3.2.
  test('is a message, with data in JSON', async () => {
    const { post, only } = await setUp();
    const body = event({
      type: 'com.example.someevent',
      source: '/mycontext',
      subject: null,
      id: 'C234-1234-1234',
      time: '2018-04-05T17:31:00Z',
      comexampleextension1: 'value',
      comexampleothervalue: 5,
      flag: true,
      datacontenttype: 'application/json',
      data: { appinfoA: 'abc', appinfoB: 123, appinfoC: true },
    });
    expect((await post(TO, STRUCTURED, JSON.stringify(body))).status).toBe(202);
    expect(only().message).toMatchObject({
      id: 'C234-1234-1234',
      subject: '',
      extensions: {
        time: '2018-04-05T17:31:00Z',
        comexampleextension1: 'value',
        comexampleothervalue: '5',
        flag: 'true',
      },
      data: { contentType: 'application/json', data: { case: 'json' } },
    });
  });

  test.each([
    [
      { datacontenttype: 'text/xml', data: '<much wow="xml"/>' },
      { case: 'text', value: '<much wow="xml"/>' },
    ],
    [{ data: 'a JSON string' }, { case: 'json' }],
    [
      { datacontenttype: 'application/vnd.apache.thrift.binary', data_base64: 'AQID/w==' },
      { case: 'binary', value: Buffer.from([1, 2, 3, 255]) },
    ],
    [{ data: null }, undefined],
  ])('has data as %j says', async (more, data) => {
    const { post, only } = await setUp();
    expect((await post(TO, STRUCTURED, JSON.stringify(event(more)))).status).toBe(202);
    if (data === undefined) expect(only().message.data).toBeUndefined();
    else expect(only().message.data?.data).toMatchObject(data);
  });
});

describe('events in the batch mode', () => {
  test('are sent in their order, and each is answered', async () => {
    const { post, taken } = await setUp();
    const batch = [event({ id: 'one' }), event({ id: 'two', orchestratorto: 'agent:a-2' })];
    const response = await post(
      '',
      BATCH,
      JSON.stringify([{ ...batch[0], orchestratorto: 'agent:a-1' }, batch[1]]),
    );
    expect(response.status).toBe(202);
    expect(await response.json()).toMatchObject({
      accepted: 2,
      refused: 0,
      results: [{ message_id: 'one' }, { message_id: 'two' }],
    });
    expect(taken.map(({ request }) => request.send?.to.value)).toEqual(['a-1', 'a-2']);
  });

  test('do not add a listener each', async () => {
    const { post } = await setUp();
    const warnings: Error[] = [];
    const hear = (warning: Error) => warnings.push(warning);
    process.on('warning', hear);
    cleanups.push(() => {
      process.off('warning', hear);
    });
    const batch = Array.from({ length: 256 }, (_, index) => event({ id: `e-${index}` }));
    expect(await (await post(TO, BATCH, JSON.stringify(batch))).json()).toMatchObject({ accepted: 256 });
    expect(warnings).toEqual([]);
  });

  test('are answered with 207 where some are refused; the others are stored', async () => {
    const { post, taken } = await setUp();
    const batch = [
      event({ id: 'one' }),
      event({ type: 'throttled' }),
      event({ type: 'muted' }),
      event({ id: 'two' }),
    ];
    const response = await post(TO, BATCH, JSON.stringify(batch));
    expect(response.status).toBe(207);
    expect(await response.json()).toMatchObject({
      accepted: 2,
      refused: 2,
      results: [
        { message_id: 'one' },
        { error: { code: 'resource_exhausted', reason: 'LINK_THROTTLED', retry_after_ms: 1500 } },
        { error: { code: 'failed_precondition', reason: 'LINK_MUTED' } },
        { message_id: 'two' },
      ],
    });
    expect(taken).toHaveLength(2);
  });

  test('are all refused before one is sent when one breaks a rule; none are fine', async () => {
    const { post, taken } = await setUp();
    const failure = await failureOf(
      await post(TO, BATCH, JSON.stringify([event(), event({ id: 'x'.repeat(129) })])),
    );
    expect(failure).toMatchObject({ status: 400, code: 'invalid_argument', reason: 'INVALID_FIELDS' });
    expect(failure.message).toMatch(/^events\[1\]\.send\.message\.id: has 129 characters/);
    expect(taken).toHaveLength(0);
    expect(await (await post(TO, BATCH, '[]')).json()).toEqual({ accepted: 0, refused: 0, results: [] });
    const many = await failureOf(
      await post(TO, BATCH, JSON.stringify(Array.from({ length: 257 }, () => event()))),
    );
    expect(many.message).toBe('events: has 257 events; at most 256 are allowed');
  });
});

describe('what is no event, or for nobody,', () => {
  const deep = `${'['.repeat(60_000)}${']'.repeat(60_000)}`;
  test.each<[string, string, Record<string, string>, string | undefined, number, string, RegExp]>([
    [
      'no attributes at all',
      TO,
      {},
      '{}',
      400,
      'INVALID_FIELDS',
      /^specversion: must be given: send an event in the binary mode/,
    ],
    [
      'another specversion',
      TO,
      { ...ATTRIBUTES, 'ce-specversion': '0.3' },
      undefined,
      400,
      'INVALID_FIELDS',
      /^specversion: must be 1\.0/,
    ],
    [
      'missing attributes',
      TO,
      { 'ce-specversion': '1.0', 'ce-id': 'x' },
      undefined,
      400,
      'INVALID_FIELDS',
      /^source: must be given; type: must be given$/,
    ],
    [
      'a bad name of an extension',
      TO,
      { ...ATTRIBUTES, 'ce-not_this': 'x' },
      undefined,
      400,
      'INVALID_FIELDS',
      /^not_this: is no name of an attribute/,
    ],
    [
      'a header that is not percent-encoded',
      TO,
      { ...ATTRIBUTES, 'ce-subject': '%C3' },
      undefined,
      400,
      'INVALID_FIELDS',
      /^ce-subject: is not percent-encoded UTF-8$/,
    ],
    [
      'the type of its data twice',
      TO,
      { ...ATTRIBUTES, 'ce-datacontenttype': 'x/y' },
      undefined,
      400,
      'INVALID_FIELDS',
      /^ce-datacontenttype: stands in the header content-type/,
    ],
    [
      'a type over the limit',
      TO,
      { ...ATTRIBUTES, 'ce-type': 'x'.repeat(129) },
      undefined,
      400,
      'INVALID_FIELDS',
      /^send\.message\.type: has 129 characters/,
    ],
    [
      'an expiry that is no time',
      TO,
      { ...ATTRIBUTES, 'ce-expirytime': 'soon' },
      undefined,
      400,
      'INVALID_FIELDS',
      /"expirytime" that is no RFC 3339 time/,
    ],
    [
      'data over the limit',
      TO,
      { ...ATTRIBUTES, 'content-type': 'text/plain' },
      'x'.repeat(65_537),
      400,
      'INVALID_FIELDS',
      /has 65537 bytes of data; at most 65536/,
    ],
    [
      'data that is not the JSON it says it is',
      TO,
      { ...ATTRIBUTES, 'content-type': 'application/json' },
      '{"a":',
      400,
      'MALFORMED_MESSAGE',
      /^the data is not JSON: /,
    ],
    [
      'data that is nested without end',
      TO,
      { ...ATTRIBUTES, 'content-type': 'application/json' },
      deep,
      400,
      'MALFORMED_MESSAGE',
      /^the data is nested deeper than 32 levels$/,
    ],
    [
      'malformed JSON',
      TO,
      STRUCTURED,
      '{"specversion":"1.0",',
      400,
      'MALFORMED_MESSAGE',
      /^the body is not JSON: /,
    ],
    ['no object', TO, STRUCTURED, '"hello"', 400, 'MALFORMED_MESSAGE', /^an event is not a JSON object$/],
    ['no array', TO, BATCH, '{}', 400, 'MALFORMED_MESSAGE', /^a batch is a JSON array/],
    [
      'an attribute that is an object',
      TO,
      STRUCTURED,
      JSON.stringify(event({ custom: {} })),
      400,
      'INVALID_FIELDS',
      /^custom: must be a string, an integer, a boolean or null$/,
    ],
    [
      'an attribute that sets a prototype',
      TO,
      STRUCTURED,
      '{"specversion":"1.0","id":"1","source":"s","type":"t","__proto__":"x"}',
      400,
      'INVALID_FIELDS',
      /^__proto__: is no name/,
    ],
    [
      'data twice',
      TO,
      STRUCTURED,
      JSON.stringify(event({ data: 1, data_base64: 'AA==' })),
      400,
      'INVALID_FIELDS',
      /^data_base64: and data must not be given both$/,
    ],
    [
      'base64 that is none',
      TO,
      STRUCTURED,
      JSON.stringify(event({ data_base64: 'A*' })),
      400,
      'INVALID_FIELDS',
      /^data_base64: must be a string in base64$/,
    ],
    [
      'a format that is not served',
      TO,
      { 'content-type': 'application/cloudevents+avro' },
      'x',
      400,
      'MALFORMED_MESSAGE',
      /^of the formats of CloudEvents/,
    ],
    [
      'a compressed body',
      TO,
      { ...STRUCTURED, 'content-encoding': 'gzip' },
      'x',
      400,
      'MALFORMED_MESSAGE',
      /content-encoding is not served/,
    ],
    ['no target', '', ATTRIBUTES, undefined, 400, 'INVALID_FIELDS', /^to: must say for whom: agent:ID/],
    [
      'a target of no kind',
      '?to=everyone',
      ATTRIBUTES,
      undefined,
      400,
      'INVALID_FIELDS',
      /^to: must be agent:ID/,
    ],
    ['an invalid topic', '?to=topic:a..b', ATTRIBUTES, undefined, 400, 'INVALID_FIELDS', /^send\.topic: /],
    [
      'an invalid selector',
      '?to=selector:a%3D%3D%3D',
      ATTRIBUTES,
      undefined,
      400,
      'INVALID_FIELDS',
      /^send\.selector: at position/,
    ],
    [
      'a misspelt parameter',
      '?too=agent:a',
      ATTRIBUTES,
      undefined,
      400,
      'INVALID_FIELDS',
      /^too: is no parameter: to, namespace, session_epoch are/,
    ],
    [
      'two targets',
      '?to=agent:a&to=agent:b',
      ATTRIBUTES,
      undefined,
      400,
      'INVALID_FIELDS',
      /^to: is given twice$/,
    ],
    [
      'a namespace that is none',
      `${TO}&namespace=A`,
      ATTRIBUTES,
      undefined,
      400,
      'INVALID_FIELDS',
      /^namespace: /,
    ],
    [
      'a muted link',
      TO,
      { ...ATTRIBUTES, 'ce-type': 'muted' },
      undefined,
      400,
      'LINK_MUTED',
      /^it is muted$/,
    ],
    [
      'a crash of the service',
      TO,
      { ...ATTRIBUTES, 'ce-type': 'crash' },
      undefined,
      500,
      'INTERNAL',
      /^internal error \S+: the service's log/,
    ],
  ])('%s', async (_, query, headers, body, status, reason, message) => {
    const { post, taken } = await setUp();
    const failure = await failureOf(await post(query, headers, body));
    expect(failure).toMatchObject({ status, reason });
    expect(failure.message).toMatch(message);
    expect(taken).toHaveLength(0);
  });

  test('a throttled link says when to come again', async () => {
    const { post } = await setUp();
    const response = await post(TO, { ...ATTRIBUTES, 'ce-type': 'throttled' });
    expect(response.status).toBe(429);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'retry-after': '2',
      'retry-after-ms': '1500',
      'error-reason': 'LINK_THROTTLED',
    });
  });

  test('a body over the limit is refused by its announced length, and while it comes', async () => {
    const { post, taken, port } = await setUp({ maxMessageBytes: 1_024 });
    const announced = await failureOf(
      await post(TO, { ...ATTRIBUTES, 'content-type': 'text/plain' }, 'x'.repeat(1_025)),
    );
    expect(announced).toMatchObject({ status: 413, code: 'resource_exhausted', reason: 'MESSAGE_TOO_LARGE' });
    // Chunked, and never at its end.
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      let text = '';
      socket.on('data', (part) => {
        text += part;
      });
      socket.on('close', () => resolve(text));
      socket.on('error', reject);
      socket.write('POST /events?to=agent:a-1 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n');
      socket.write(`800\r\n${'x'.repeat(2_048)}\r\n`);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer.toLowerCase()).toContain('connection: close');
    expect(taken).toHaveLength(0);
  });

  test('another method is told which one there is; without a part that sends, there is nothing', async () => {
    const { url } = await setUp();
    const response = await fetch(`${url}/events`);
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST');
    const without = await startHttp([]);
    cleanups.push(() => without.listener.close({ graceMs: 0 }));
    expect((await fetch(`${without.url}/events`, { method: 'POST' })).status).toBe(404);
  });
});

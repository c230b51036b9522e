import { createHmac, timingSafeEqual } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { noticeOf } from '../../src/domain/monitoring/sinks/envelopes.ts';
import { SinkError } from '../../src/domain/monitoring/sinks/ports.ts';
import { HttpClient } from '../../src/integrations/http-client.ts';
import { createWebhook, type WebhookOptions } from '../../src/integrations/webhook.ts';
import { selfSigned } from '../rpc/self-signed.ts';
import { HttpSinkServer } from '../support/http-sink-server.ts';
import { freePort } from '../support/redis-server.ts';
import { alertTimeMs, resolvedAlert, sampleAlert } from '../support/sample-alert.ts';
import { within } from '../support/until.ts';

const SECRET = 'whsec-5f2d9c';
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function server(tls?: { cert: string; key: string }): Promise<HttpSinkServer> {
  const started = await HttpSinkServer.start(tls);
  closing.push(() => started.close());
  return started;
}

function webhook(config: WebhookOptions['config'], options: { ca?: string } = {}) {
  const http = new HttpClient({ maxSockets: 4, ...options });
  const sink = createWebhook({ config, http, wallMs: () => alertTimeMs });
  closing.push(() => sink.close());
  const send = (signal = AbortSignal.timeout(5000)) =>
    within(sink.sendAlerts([noticeOf(sampleAlert(), 'firing')], signal), 8000, 'a send');
  return { sink, send };
}

/** The error of a send that must fail. */
async function failure(send: Promise<unknown>): Promise<SinkError> {
  const error = await send.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SinkError);
  return error as SinkError;
}

describe('a webhook', () => {
  it('gets each alert as a CloudEvent whose id is the same each time', async () => {
    const target = await server();
    const { sink, send } = webhook({ url: `http://127.0.0.1:${target.port}/hooks/alerts?x=1` });
    await send();
    await send();
    await sink.sendAlerts([noticeOf(resolvedAlert(), 'resolved')], AbortSignal.timeout(5000));
    const [first, second, third] = target.received;
    expect([first?.method, first?.path]).toEqual(['POST', '/hooks/alerts?x=1']);
    expect(first?.headers['content-type']).toBe('application/cloudevents+json; charset=utf-8');
    expect(first?.headers['x-orchestrator-signature']).toBeUndefined();
    const event = JSON.parse(first?.body ?? '');
    expect(event).toMatchObject({
      specversion: '1.0',
      id: 'alert-1/firing',
      source: '/mycosoft/orchestrator/default',
      type: 'mycosoft.orchestrator.alert.firing',
      subject: 'agent_lost',
      time: '2026-08-03T12:00:00.000Z',
      datacontenttype: 'application/json',
      data: { id: 'alert-1', state: 'STATE_FIRING', labels: { agent_id: 'a1' }, value: 1 },
    });
    expect(second?.body).toBe(first?.body);
    expect(JSON.parse(third?.body ?? '')).toMatchObject({
      id: 'alert-1/resolved',
      type: 'mycosoft.orchestrator.alert.resolved',
      time: '2026-08-03T12:01:00.000Z',
    });
  });

  it('signs with HMAC-SHA256 over time and body, which the receiver can check', async () => {
    const target = await server();
    await webhook({ url: `http://127.0.0.1:${target.port}`, secret: SECRET }).send();
    const [request] = target.received;
    const [, t = '', v1 = ''] =
      /^t=(\d+),v1=([0-9a-f]{64})$/.exec(`${request?.headers['x-orchestrator-signature']}`) ?? [];
    // As the receivers of the docs do it, byte by byte.
    const mac = createHmac('sha256', Buffer.from(SECRET, 'utf8'));
    mac.update(Buffer.from(t, 'ascii'));
    mac.update(Buffer.from('.', 'ascii'));
    mac.update(Buffer.from(request?.body ?? '', 'utf8'));
    expect(timingSafeEqual(mac.digest(), Buffer.from(v1, 'hex'))).toBe(true);
    expect(Number(t)).toBe(alertTimeMs / 1000);
  });

  it('signs as a known vector says', async () => {
    const { signatureOf } = await import('../../src/integrations/webhook.ts');
    // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
    expect(signatureOf('key', 1_700_000_000, '{"a":1}')).toBe(
      't=1700000000,v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03',
    );
  });

  it('reads the key from its file again when that changes', async () => {
    const target = await server();
    const folder = await mkdtemp(join(tmpdir(), 'sink-secret-'));
    closing.push(() => rm(folder, { recursive: true }));
    const secretFile = join(folder, 'key');
    const { send } = webhook({ url: `http://127.0.0.1:${target.port}`, secretFile });
    expect((await failure(send())).message).toBe('secret_file cannot be read: ENOENT');
    await writeFile(secretFile, 'first\n');
    await send();
    await writeFile(secretFile, 'the second\n');
    await send();
    const expected = ['first', 'the second'].map((secret, index) => {
      const body = `${alertTimeMs / 1000}.${target.received[index]?.body}`;
      return `t=${alertTimeMs / 1000},v1=${createHmac('sha256', secret).update(body).digest('hex')}`;
    });
    expect(target.received.map(({ headers }) => headers['x-orchestrator-signature'])).toEqual(expected);
  });

  it('sends headers, and the user and password of its URL', async () => {
    const target = await server();
    const { send } = webhook({
      url: `http://ops:p%40ss@127.0.0.1:${target.port}/`,
      headers: { 'X-Team': 'core', 'Content-Type': 'text/plain' },
    });
    await send();
    const headers: Record<string, unknown> = { ...target.received[0]?.headers };
    expect(headers.authorization).toBe(`Basic ${Buffer.from('ops:p@ss').toString('base64')}`);
    expect(headers['x-team']).toBe('core');
    // What the body is does not depend on the configuration.
    expect(headers['content-type']).toBe('application/cloudevents+json; charset=utf-8');
  });

  it.each([
    [500, false, undefined],
    [503, false, 7000],
    [429, false, 7000],
    [400, true, undefined],
    [413, true, undefined],
    [401, false, undefined],
  ])('that answers %i has not taken it', async (status, refused, retryAfterMs) => {
    const target = await server();
    target.answer = (_, response) => {
      if (retryAfterMs !== undefined) response.setHeader('retry-after', retryAfterMs / 1000);
      response.writeHead(status).end('not\nnow\u0007');
    };
    const error = await failure(webhook({ url: `http://127.0.0.1:${target.port}` }).send());
    expect(error.message).toBe(`127.0.0.1:${target.port} answered ${status}: not now`);
    expect([error.refused, error.retryAfterMs]).toEqual([refused, retryAfterMs]);
  });

  it('that answers with a megabyte has taken it, and the rest is not read', async () => {
    const target = await server();
    let cut: Promise<void> | undefined;
    target.answer = (_, response) => {
      cut = new Promise((resolve) => response.on('close', resolve));
      response.write(Buffer.alloc(1 << 20, 'x'));
      // It would go on for ever.
    };
    await webhook({ url: `http://127.0.0.1:${target.port}` }).send();
    await within(cut ?? Promise.reject(new Error('nothing came')), 2000, 'cutting off');
  });

  it('that answers a megabyte of error is quoted with its beginning', async () => {
    const target = await server();
    target.answer = (_, response) => response.writeHead(500).end(Buffer.alloc(1 << 20, 'x'));
    const { message } = await failure(webhook({ url: `http://127.0.0.1:${target.port}` }).send());
    expect(message.length).toBeLessThan(300);
  });

  it('whose body is slow has taken it once its status is there', async () => {
    const target = await server();
    target.answer = (_, response) => {
      response.writeHead(202);
      response.write('{');
    };
    const started = performance.now();
    await webhook({ url: `http://127.0.0.1:${target.port}` }).send();
    expect(performance.now() - started).toBeLessThan(4000);
  });

  it('that does not answer is given up when the signal says so', async () => {
    const target = await server();
    target.answer = () => {};
    const controller = new AbortController();
    const sent = webhook({ url: `http://127.0.0.1:${target.port}` }).send(controller.signal);
    await target.got(1);
    controller.abort();
    expect((await failure(sent)).message).toBe(`127.0.0.1:${target.port} did not answer in time`);
  });

  it('that refuses connections is said to', async () => {
    const port = await freePort();
    const { message } = await failure(
      webhook({ url: `http://127.0.0.1:${port}/secret-path-0123456789` }).send(),
    );
    expect(message).toBe(`127.0.0.1:${port} cannot be reached: connect ECONNREFUSED 127.0.0.1:${port}`);
  });

  it('is not followed to where it redirects', async () => {
    const other = await server();
    const target = await server();
    target.answer = (_, response) =>
      response.writeHead(307, { location: `http://127.0.0.1:${other.port}/steal?token=abc` }).end();
    const { message } = await failure(
      webhook({ url: `http://127.0.0.1:${target.port}`, secret: SECRET }).send(),
    );
    expect(message).toBe(
      `127.0.0.1:${target.port} answered 307, a redirect to http://127.0.0.1:${other.port}; redirects are not followed`,
    );
    expect(other.received).toEqual([]);
  });

  it('with a certificate of its own is refused, unless that is trusted', async () => {
    const tls = selfSigned('sink');
    const target = await server(tls);
    const url = `https://127.0.0.1:${target.port}/`;
    expect((await failure(webhook({ url }).send())).message).toMatch(
      /cannot be reached: self.signed certificate/,
    );
    expect(target.received).toEqual([]);
    await webhook({ url }, { ca: tls.cert }).send();
    expect(target.received).toHaveLength(1);
  });

  it('may close a kept connection between two sends', async () => {
    const target = await server();
    target.answer = (_, response) => {
      response.end();
      setImmediate(() => response.socket?.destroy());
    };
    const { send } = webhook({ url: `http://127.0.0.1:${target.port}` });
    for (let time = 0; time < 5; time += 1) await send();
    expect(target.received).toHaveLength(5);
  });

  it('never shows its secrets, also when the sink says them', async () => {
    const target = await server();
    target.answer = ({ headers, path }, response) =>
      response.writeHead(500).end(`bad ${JSON.stringify(headers)} at ${path} with ${SECRET}`);
    const token = 'tok-8c1b7e0d9a2f4e66';
    const { sink, send } = webhook({
      url: `http://ops:hunter2@127.0.0.1:${target.port}/hooks/T0123456789ABCDEF?key=qs-secret`,
      secret: SECRET,
      headers: { authorization: `Bearer ${token}`, 'x-api-key': 'api-key-1' },
    });
    const { message } = await failure(send());
    for (const shown of [message, sink.target]) {
      for (const secret of [SECRET, token, 'hunter2', 'T0123456789ABCDEF', 'qs-secret', 'api-key-1']) {
        expect(shown).not.toContain(secret);
      }
    }
    expect(sink.target).toBe(`http://127.0.0.1:${target.port}/…`);
  });
});

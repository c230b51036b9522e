import { afterEach, describe, expect, it } from 'vitest';
import { noticeOf } from '../../src/domain/monitoring/sinks/envelopes.ts';
import { createAlertmanager, labelsOf } from '../../src/integrations/alertmanager.ts';
import { HttpClient } from '../../src/integrations/http-client.ts';
import { HttpSinkServer } from '../support/http-sink-server.ts';
import { alertTimeMs, resolvedAlert, sampleAlert } from '../support/sample-alert.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function alertmanager(path = '') {
  const target = await HttpSinkServer.start();
  let nowMs = alertTimeMs + 1000;
  const sink = createAlertmanager({
    config: { url: `http://am:secret@127.0.0.1:${target.port}${path}` },
    http: new HttpClient({ maxSockets: 2 }),
    wallMs: () => nowMs,
    resendMs: 60_000,
  });
  closing.push(
    () => target.close(),
    () => sink.close(),
  );
  const send = (...notices: Parameters<typeof sink.sendAlerts>[0]) =>
    sink.sendAlerts(notices, AbortSignal.timeout(5000));
  return { target, sink, send, passMs: (ms: number) => (nowMs += ms) };
}

describe('an Alertmanager', () => {
  it('gets a batch whose firing alerts end three resends from now, later each time, under the same labels', async () => {
    const { target, sink, send, passMs } = await alertmanager('/prefix/');
    await send(
      noticeOf(sampleAlert(), 'firing'),
      noticeOf(sampleAlert({ id: 'alert-2', rule: 'other' }), 'firing'),
    );
    passMs(60_000);
    await send(noticeOf(sampleAlert({ summary: 'agent a1 is lost for a minute', value: 2 }), 'firing'));
    const [first, second] = target.received.map(({ body }) => JSON.parse(body));
    expect(target.received[0]).toMatchObject({ method: 'POST', path: '/prefix/api/v2/alerts' });
    expect(target.received[0]?.headers['content-type']).toBe('application/json');
    expect(first[0]).toEqual({
      labels: {
        alertname: 'agent_lost',
        severity: 'critical',
        namespace: 'default',
        agent_id: 'a1',
        topology_kubernetes_io_zone: 'eu-1',
      },
      annotations: {
        summary: 'agent a1 is lost',
        description: 'Look at its process.',
        runbook_url: 'https://runbooks.example/agent-lost',
        alert_id: 'alert-1',
      },
      startsAt: '2026-08-03T12:00:00.000Z',
      endsAt: '2026-08-03T12:03:01.000Z',
    });
    expect(first[1].labels.alertname).toBe('other');
    expect(second[0].labels).toEqual(first[0].labels);
    expect([second[0].startsAt, second[0].endsAt]).toEqual([first[0].startsAt, '2026-08-03T12:04:01.000Z']);
    expect(sink.target).toBe(`http://127.0.0.1:${target.port}/…`);
  });

  it('is told the time at which an alert was resolved', async () => {
    const { target, send } = await alertmanager();
    await send(noticeOf(resolvedAlert(), 'resolved'));
    const [alert] = JSON.parse(target.received[0]?.body ?? '');
    expect([alert.startsAt, alert.endsAt]).toEqual(['2026-08-03T12:00:00.000Z', '2026-08-03T12:01:00.000Z']);
  });

  it('never gets an end that is not after the start, as it would refuse it', async () => {
    const { target, send } = await alertmanager();
    const { fireTime } = sampleAlert();
    await send(noticeOf(resolvedAlert(fireTime === undefined ? {} : { resolveTime: fireTime }), 'resolved'));
    const [alert] = JSON.parse(target.received[0]?.body ?? '');
    expect(Date.parse(alert.endsAt)).toBeGreaterThan(Date.parse(alert.startsAt));
  });

  it('is quoted when it refuses', async () => {
    const { target, send } = await alertmanager();
    target.answer = (_, response) => response.writeHead(400).end('{"message":"invalid label for secret"}');
    await expect(send(noticeOf(sampleAlert(), 'firing'))).rejects.toMatchObject({
      message: `127.0.0.1:${target.port} answered 400: {"message":"invalid label for ***"}`,
      refused: true,
    });
  });
});

describe('labels for Alertmanager', () => {
  it.each([
    [
      { 'a.b': '1', a_b: '2' },
      { a_b: '1', a_b_: '2' },
    ],
    [{ '1st': 'x' }, { _1st: 'x' }],
    [
      { alertname: 'mine', namespace: 'n', severity: 's' },
      { alertname_: 'mine', namespace_: 'n', severity_: 's' },
    ],
    [{ gone: '' }, {}],
  ])('of %j are names that every version takes, and none is lost', (labels, expected) => {
    const { alertname, severity, namespace, ...rest } = labelsOf(sampleAlert({ labels }));
    expect(rest).toEqual(expected);
    expect([alertname, severity, namespace]).toEqual(['agent_lost', 'critical', 'default']);
  });
});

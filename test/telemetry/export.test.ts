import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import type { CommitOutcome, Store } from '../../src/state/store.ts';
import { StoreUnavailableError } from '../../src/state/store.ts';
import { createRpcObserver } from '../../src/telemetry/rpc-observer.ts';
import { traceStore } from '../../src/telemetry/store-observer.ts';
import { startTelemetry, type Telemetry } from '../../src/telemetry/telemetry.ts';
import { OtlpReceiver } from '../support/otlp-receiver.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const config = { id: 'replica-7', log: { level: 'debug', format: 'json' as const } };
const call = {
  method: { name: 'RegisterAgent', parent: { typeName: 'mycosoft.orchestrator.agent.v1.AgentService' } },
  protocol: 'grpc' as const,
  peer: '[::1]:4711',
};

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});

async function receiver(): Promise<OtlpReceiver> {
  const started = await OtlpReceiver.start();
  open.push(started);
  return started;
}

function start(env: NodeJS.ProcessEnv): { telemetry: Telemetry; lines: string[] } {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const telemetry = startTelemetry({ config, version: '1.2.3', env, destination });
  open.push({ close: () => telemetry.shutdown() });
  return { telemetry, lines };
}

/** A store of which only commit and status are called. */
function fakeStore(commit: () => Promise<CommitOutcome>): Store {
  return { commit, status: () => ({ kind: 'lmdb' }) } as unknown as Store;
}

const committed = async (): Promise<CommitOutcome> => ({ kind: 'committed', epoch: 1n, revision: 5n });

function headers(values: Record<string, string>) {
  return (name: string) => values[name];
}

describe.each(['http/protobuf', 'http/json'])('over %s', (protocol) => {
  it('a call is a span under the caller’s traceparent, with its commit as a child', async () => {
    const collector = await receiver();
    const { telemetry, lines } = start({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
      OTEL_EXPORTER_OTLP_HEADERS: 'x-api-key=abc',
    });
    const { tracer, instruments, log } = telemetry;
    const store = traceStore(fakeStore(committed), tracer);
    const observation = createRpcObserver({ tracer, instruments }).start({
      ...call,
      header: headers({ traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'a=b' }),
    });
    await observation.run(async () => {
      await store.commit({ namespace: 'default' });
      log.info({ agent: 'a-1', nested: { deep: true } }, 'registered');
    });
    observation.finish({ code: 0, reason: undefined, elapsedMs: 12.5 });
    log.warn({}, 'outside of any call');
    await telemetry.shutdown();

    const [rpc, commit] = ['RegisterAgent', 'store commit'].map((name) =>
      collector.spans.find((span) => span.name.endsWith(name)),
    );
    expect(collector.spans).toHaveLength(2);
    expect(rpc).toMatchObject({
      name: 'mycosoft.orchestrator.agent.v1.AgentService/RegisterAgent',
      traceId: TRACE,
      parentSpanId: PARENT,
      kind: 2,
      status: 0,
      attributes: {
        'rpc.system.name': 'grpc',
        'rpc.method': 'mycosoft.orchestrator.agent.v1.AgentService/RegisterAgent',
        'rpc.response.status_code': 'OK',
        'network.peer.address': '::1',
        'network.peer.port': 4711,
      },
      resource: {
        'service.name': 'orchestrator',
        'service.version': '1.2.3',
        'service.instance.id': 'replica-7',
        'deployment.environment.name': 'test',
      },
    });
    expect(Object.keys(rpc?.resource ?? {})).not.toContain('process.command_args');
    expect(commit).toMatchObject({
      traceId: TRACE,
      parentSpanId: rpc?.spanId,
      kind: 3,
      attributes: {
        'db.operation.name': 'commit',
        'db.system.name': 'lmdb',
        'orchestrator.store.outcome': 'committed',
      },
    });

    const duration = collector.metrics.find(({ name }) => name === 'rpc.server.call.duration');
    expect(duration).toMatchObject({ unit: 's', kind: 'histogram' });
    expect(duration?.points[0]).toMatchObject({
      value: 0.0125,
      count: 1,
      attributes: { 'rpc.response.status_code': 'OK' },
    });

    const [inside, outside] = ['registered', 'outside of any call'].map((body) =>
      collector.logs.find((record) => record.body === body),
    );
    expect(inside).toMatchObject({
      severity: 'INFO',
      traceId: TRACE,
      spanId: rpc?.spanId,
      attributes: { agent: 'a-1', nested: { deep: true } },
    });
    expect(outside).toMatchObject({ severity: 'WARN', traceId: '' });
    const line = lines.map((text) => JSON.parse(text)).find(({ msg }) => msg === 'registered');
    expect(line).toMatchObject({ trace_id: TRACE, span_id: rpc?.spanId, level: 'info', agent: 'a-1' });
    expect(line.time).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
    expect(new Set(collector.requests.map(({ path }) => path))).toEqual(
      new Set(['/v1/traces', '/v1/metrics', '/v1/logs']),
    );
    expect(collector.requests.every((request) => request.headers['x-api-key'] === 'abc')).toBe(true);
  });
});

describe('over grpc', () => {
  it('spans, metrics and logs arrive', async () => {
    const server = new Server();
    const received = new Map<string, Buffer>();
    for (const [signal, service] of [
      ['trace', 'TraceService'],
      ['metrics', 'MetricsService'],
      ['logs', 'LogsService'],
    ] as const) {
      const path = `/opentelemetry.proto.collector.${signal}.v1.${service}/Export`;
      const bytes = (buffer: Buffer) => buffer;
      const method = {
        path,
        requestStream: false,
        responseStream: false,
        requestSerialize: bytes,
        requestDeserialize: bytes,
        responseSerialize: bytes,
        responseDeserialize: bytes,
      };
      server.addService(
        { Export: method },
        {
          Export: (unary: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
            received.set(signal, unary.request);
            answer(null, Buffer.alloc(0));
          },
        },
      );
    }
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    );
    open.push({ close: async () => server.forceShutdown() });
    const { telemetry } = start({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
    });
    createRpcObserver(telemetry)
      .start({ ...call, header: headers({}) })
      .finish({ code: 0, reason: undefined, elapsedMs: 1 });
    telemetry.log.info({}, 'by grpc');
    await telemetry.shutdown();
    expect(received.get('trace')?.toString('latin1')).toContain('AgentService/RegisterAgent');
    expect(received.get('metrics')?.toString('latin1')).toContain('rpc.server.call.duration');
    expect(received.get('logs')?.toString('latin1')).toContain('by grpc');
  });
});

describe('spans', () => {
  it('of failed calls name code and reason; only the server’s own faults are errors', async () => {
    const collector = await receiver();
    const { telemetry } = start({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_METRICS_EXPORTER: 'none',
    });
    const observer = createRpcObserver(telemetry);
    const outcomes = [
      [5, 'AGENT_NOT_FOUND'],
      [13, undefined],
      [99, undefined],
    ] as const;
    for (const [code, reason] of outcomes) {
      observer.start({ ...call, header: headers({}) }).finish({ code, reason, elapsedMs: 1 });
    }
    await telemetry.shutdown();
    expect(
      collector.spans.map(({ status, attributes, parentSpanId }) => [
        attributes['rpc.response.status_code'],
        attributes['error.type'],
        attributes['orchestrator.rpc.reason'],
        status,
        parentSpanId,
      ]),
    ).toEqual([
      ['NOT_FOUND', 'NOT_FOUND', 'AGENT_NOT_FOUND', 0, ''],
      ['INTERNAL', 'INTERNAL', undefined, 2, ''],
      ['UNKNOWN', 'UNKNOWN', undefined, 2, ''],
    ]);
    expect(collector.metrics).toEqual([]);
  });

  it('of commits exist only inside a recorded call, and name what went wrong without secrets', async () => {
    const collector = await receiver();
    const { telemetry } = start({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const broken = traceStore(
      fakeStore(() =>
        Promise.reject(
          new StoreUnavailableError({
            message: 'no answer from redis://u:hunter2@h',
            outcome: 'unknown',
            retryAfterMs: 1,
          }),
        ),
      ),
      telemetry.tracer,
    );
    await expect(broken.commit({ namespace: 'n' })).rejects.toThrow();
    const observation = createRpcObserver(telemetry).start({ ...call, header: headers({}) });
    await observation.run(() => expect(broken.commit({ namespace: 'n' })).rejects.toThrow());
    observation.finish({ code: 14, reason: 'STORE_UNAVAILABLE', elapsedMs: 1 });
    // The call is over: what it left behind is nobody's child.
    await observation.run(() => expect(broken.commit({ namespace: 'n' })).rejects.toThrow());
    await telemetry.shutdown();
    const commits = collector.spans.filter(({ name }) => name === 'store commit');
    expect(commits).toHaveLength(1);
    expect(commits[0]).toMatchObject({ status: 2, attributes: { 'error.type': 'StoreUnavailableError' } });
    expect(commits[0]?.events[0]?.attributes['exception.message']).toBe('no answer from redis://***@h');
    expect(collector.raw).not.toContain('hunter2');
  });

  it('follow the sampler of the environment and the caller’s decision', async () => {
    const collector = await receiver();
    const env = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces` };
    for (const [sampler, flags] of [
      ['always_off', '01'],
      ['parentbased_always_on', '00'],
      ['always_on', '00'],
    ] as const) {
      const { telemetry } = start({ ...env, OTEL_TRACES_SAMPLER: sampler, OTEL_SERVICE_NAME: sampler });
      const observer = createRpcObserver(telemetry);
      const observation = observer.start({
        ...call,
        header: headers({ traceparent: `00-${TRACE}-${PARENT}-${flags}` }),
      });
      expect(observation.run(() => 5)).toBe(5);
      observation.finish({ code: 0, reason: undefined, elapsedMs: 1 });
      await telemetry.shutdown();
    }
    expect(collector.spans.map(({ resource }) => resource['service.name'])).toEqual(['always_on']);
  });

  it('take no harm from hostile headers', async () => {
    const collector = await receiver();
    const { telemetry } = start({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const hostile = [
      '',
      'x',
      `00-${'0'.repeat(32)}-${PARENT}-01`,
      `ff-${TRACE}-${PARENT}-01`,
      `00-${TRACE}`,
      'z'.repeat(100_000),
    ];
    for (const traceparent of hostile) {
      const header = headers({ traceparent, tracestate: `a=${'b'.repeat(100_000)}` });
      createRpcObserver(telemetry)
        .start({ ...call, peer: '', header })
        .finish({ code: 0, reason: undefined, elapsedMs: 1 });
    }
    await telemetry.shutdown();
    expect(collector.spans).toHaveLength(hostile.length);
    expect(collector.spans.every(({ parentSpanId }) => parentSpanId === '')).toBe(true);
    expect(collector.raw.length).toBeLessThan(50_000);
  });
});

describe('exporting', () => {
  it.each([
    ['nothing is configured', {}],
    ['the SDK is disabled', { OTEL_SDK_DISABLED: 'true' }],
    [
      'every signal says none',
      { OTEL_TRACES_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' },
    ],
  ])('does not happen when %s, and /metrics still works', async (_case, extra) => {
    const collector = await receiver();
    const quiet = Object.keys(extra).length === 0 ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
    const { telemetry, lines } = start({ ...quiet, ...extra });
    const observation = createRpcObserver(telemetry).start({
      ...call,
      header: headers({ traceparent: `00-${TRACE}-${PARENT}-01` }),
    });
    observation.run(() => telemetry.log.info({}, 'hello'));
    observation.finish({ code: 0, reason: undefined, elapsedMs: 1 });
    expect(await telemetry.renderMetrics()).toContain('orchestrator_rpc_server_call_duration_seconds_count{');
    await telemetry.shutdown();
    expect(collector.requests).toEqual([]);
    expect(JSON.parse(lines[0] ?? '')).not.toHaveProperty('trace_id');
  });

  it('that fails is told in the log and does not hold up the end', async () => {
    const collector = await receiver();
    collector.status = 400;
    const { telemetry, lines } = start({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20hunter2',
    });
    createRpcObserver(telemetry)
      .start({ ...call, header: headers({}) })
      .finish({ code: 0, reason: undefined, elapsedMs: 1 });
    telemetry.log.info({}, 'hello');
    const started = performance.now();
    await telemetry.shutdown();
    expect(performance.now() - started).toBeLessThan(4_000);
    const failures = lines.filter((line) => line.includes('OpenTelemetry') || line.includes('not exported'));
    expect(failures.length).toBeGreaterThan(0);
    expect(lines.join('')).not.toContain('hunter2');
  });

  it('to a collector that never answers ends within its bound', async () => {
    const { createServer } = await import('node:net');
    const silent = createServer((socket) => socket.on('error', () => {}));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    open.push({ close: async () => void silent.close() });
    const address = silent.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const { telemetry } = start({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` });
    const started = performance.now();
    await telemetry.shutdown();
    expect(performance.now() - started).toBeLessThan(4_000);
  });

  it('names what it does not understand', () => {
    const { lines } = start({
      OTEL_TRACES_EXPORTER: 'zipkin',
      OTEL_LOGS_EXPORTER: 'otlp',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'carrier-pigeon',
    });
    expect(lines.map((line) => JSON.parse(line).msg)).toEqual([
      'OTEL_TRACES_EXPORTER: "zipkin" is not supported (otlp, console, none)',
      'OTLP protocol "carrier-pigeon" is not supported; http/protobuf is used',
    ]);
  });

  it('leaves the variables of the process as they were', () => {
    process.env.OTEL_SERVICE_NAME = 'outer';
    try {
      start({ OTEL_SERVICE_NAME: 'inner', OTEL_LOG_LEVEL: 'none' });
      expect(process.env.OTEL_SERVICE_NAME).toBe('outer');
      expect(process.env.OTEL_LOG_LEVEL).toBeUndefined();
    } finally {
      delete process.env.OTEL_SERVICE_NAME;
    }
  });
});

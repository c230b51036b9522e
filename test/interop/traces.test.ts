import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OtlpReceiver, type ReceivedSpan } from '../support/otlp-receiver.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { ServiceProcess } from '../support/service.ts';
import { until } from '../support/until.ts';
import { AgentProcess } from './agent-process.ts';
import { nameOf, replicaOf, SpanTree } from './span-tree.ts';
import { suiteWithAll } from './tools.ts';

const typescript = { command: process.execPath, args: ['test/interop/typescript-pair.mjs'] };

suiteWithAll(['python-pair', 'go-pair'], 'traces over three languages', ([python, go]) => {
  let receiver: OtlpReceiver;
  let redis: RedisServer | undefined;
  const services: ServiceProcess[] = [];
  const processes: AgentProcess[] = [];

  beforeAll(async () => {
    receiver = await OtlpReceiver.start();
  });
  afterAll(() => receiver?.close());
  async function endAll(): Promise<void> {
    await Promise.all(processes.splice(0).map((one) => one.end()));
    await Promise.all(services.splice(0).map((one) => one.stop()));
    await redis?.stop();
    redis = undefined;
    receiver.spans.length = 0;
  }

  const exported = () => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
    OTEL_BSP_SCHEDULE_DELAY: '100',
  });
  async function serve(id: string, store?: string): Promise<ServiceProcess> {
    const env = { ...exported(), ORCHESTRATOR_ID: id };
    const service = await ServiceProcess.start({ env, ...(store === undefined ? {} : { store }) });
    services.push(service);
    return service;
  }
  /** TypeScript first: whoever asks finds its peer there. */
  async function attachAll(at: { python: string; go: string; typescript: string }): Promise<void> {
    if (python === undefined || go === undefined) throw new Error('no tools');
    for (const [tool, ...args] of [
      [typescript, at.typescript, 'ts-1'],
      [go, at.go, 'go-1', 'ts-1'],
      [python, at.python, 'py-1', 'go-1'],
    ] as const) {
      const agent = new AgentProcess(tool, args, exported());
      processes.push(agent);
      await agent.line(/^connected/);
      if (tool === go) await agent.line(/^go-1 says hello/); // it has subscribed
    }
    await processes.at(-1)?.line(/^asked: py-1 -> go-1 -> ts-1$/);
  }

  /** The trace of a question that went from Python over Go to TypeScript, once all that belongs to it has come. */
  async function threeLanguageTrace(): Promise<{ tree: SpanTree; last: ReceivedSpan }> {
    const handled = () =>
      receiver.spans
        .filter((span) => nameOf(span) === 'ts-1: process ask (CONSUMER)')
        .map((last) => ({
          last,
          tree: new SpanTree(receiver, last.traceId),
        }));
    const whole = ({ tree, last }: { tree: SpanTree; last: ReceivedSpan }) =>
      tree.pathTo(last).length === 8 && tree.orphans().length === 0 && deliveriesOf(tree).length === 2;
    const what = 'a whole trace of three languages';
    const seen = () => receiver.spans.map(nameOf);
    const found = await until(
      () => handled().find(whole) ?? seen(),
      (one) => !Array.isArray(one),
      { what, timeoutMs: 20_000 },
    );
    return found as { tree: SpanTree; last: ReceivedSpan };
  }
  const deliveriesOf = (tree: SpanTree) =>
    tree.spans.filter((span) => nameOf(span) === 'orchestrator: deliver (INTERNAL)');

  const expectedPath = [
    'py-1: call ask (CLIENT)',
    'orchestrator: MessageService/CallAgent (SERVER)',
    'orchestrator: send agent/{id} (PRODUCER)',
    'go-1: process ask (CONSUMER)',
    'go-1: call ask (CLIENT)',
    'orchestrator: MessageService/CallAgent (SERVER)',
    'orchestrator: send agent/{id} (PRODUCER)',
    'ts-1: process ask (CONSUMER)',
  ];

  describe('on one replica', () => {
    beforeAll(async () => {
      const { grpc } = await serve('o-1');
      await attachAll({ python: grpc, go: grpc, typescript: grpc });
    });
    afterAll(endAll);

    test('a Python agent calls a Go agent that calls a TypeScript agent: all spans in the right parentage', async () => {
      const { tree, last } = await threeLanguageTrace();
      const path = tree.pathTo(last);
      expect(path.map(nameOf)).toEqual(expectedPath);
      expect(tree.roots()).toHaveLength(1);
      for (const sent of path.filter(({ name }) => name.startsWith('send '))) {
        const below = tree.childrenOf(sent).map(({ name }) => name);
        expect(below.filter((name) => name === 'deliver')).toHaveLength(1);
        expect(below.filter((name) => name === 'process ask')).toHaveLength(1);
      }
      expect(tree.spans.filter(({ status }) => status === 2).map(nameOf)).toEqual([]);
      const known = new Set([
        ...expectedPath,
        'orchestrator: deliver (INTERNAL)',
        'orchestrator: store commit (CLIENT)',
      ]);
      expect(tree.spans.map(nameOf).filter((name) => !known.has(name))).toEqual([]);
    });

    test('what goes to many has one trace at the sender, and one of its own at each receiver that links to it', async () => {
      // Go greets first and hears itself alone; Python's greeting has two subscribers.
      const heard = () =>
        receiver.spans.filter(({ name, links }) => name === 'process greeting' && links.length > 0);
      const [one, other] = await until(heard, (spans) => spans.length >= 2, { what: 'two receivers' });
      expect([one, other].map((span) => String(span?.resource['service.name'])).sort()).toEqual([
        'go-1',
        'py-1',
      ]);
      expect(one?.links).toEqual(other?.links);
      expect(one?.traceId).not.toBe(other?.traceId);
      const [{ traceId = '', spanId = '' } = {}] = one?.links ?? [];
      const tree = new SpanTree(receiver, traceId);
      const sent = tree.spans.find((span) => span.spanId === spanId);
      expect(sent && tree.pathTo(sent).map(nameOf)).toEqual([
        'py-1: send greeting (PRODUCER)',
        'orchestrator: send topic/greetings.python (PRODUCER)',
      ]);
    });
  });

  describe('over two replicas on Redis, each callee at another one than its caller', () => {
    beforeAll(async () => {
      redis = await startRedis();
      const [first, second] = await Promise.all([serve('o-1', redis.url), serve('o-2', redis.url)]);
      await attachAll({ python: first.grpc, go: second.grpc, typescript: first.grpc });
    });
    afterAll(endAll);

    test('a call has the same trace, its spans at the replica where each is', async () => {
      const { tree, last } = await threeLanguageTrace();
      const path = tree.pathTo(last);
      expect(path.map(nameOf)).toEqual(expectedPath);
      expect(path.map(replicaOf)).toEqual([
        ...[undefined, 'o-1', 'o-1', undefined],
        ...[undefined, 'o-2', 'o-2', undefined],
      ]);
      const delivered = path
        .filter(({ name }) => name.startsWith('send '))
        .map((sent) =>
          tree
            .childrenOf(sent)
            .filter(({ name }) => name === 'deliver')
            .map(replicaOf),
        );
      expect(delivered, 'by the replica that has the callee').toEqual([['o-2'], ['o-1']]);
    });
  });
});

import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterEach, describe, expect, test } from 'vitest';
import {
  ServerReflection,
  type ServerReflectionRequestSchema,
} from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../../gen/health/v1/health_pb.ts';
import { gateServices } from '../../src/rpc/method-gate.ts';
import { startHttp } from '../http/http-support.ts';
import { fakeServer } from './fake-server.ts';
import { fakePipeline } from './fakes.ts';
import { startGrpc } from './grpc-support.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const agentService = 'mycosoft.orchestrator.agent.v1.AgentService';

describe.each([
  ['gRPC', startGrpc],
  ['HTTP', startHttp],
])('on the %s listener', (_, start) => {
  async function setUp(gated = false, fake = fakePipeline()) {
    const server = fakeServer((bindings) =>
      gateServices(gated ? [] : ['agent_management'], { agent_management: bindings }),
    );
    const { listener, ...rest } = await start(server.services, { fake });
    cleanups.push(() => listener.close({ graceMs: 0 }));
    const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${listener.address.port}` });
    return { ...server, ...rest, transport, healthClient: createClient(Health, transport) };
  }

  async function ask(
    transport: ReturnType<typeof createGrpcTransport>,
    messageRequest: MessageInitShape<typeof ServerReflectionRequestSchema>['messageRequest'],
    alpha = false,
  ) {
    async function* requests() {
      yield { host: 'h', messageRequest } as MessageInitShape<typeof ServerReflectionRequestSchema>;
    }
    const client = alpha
      ? (createClient(ServerReflectionAlpha, transport) as unknown as ReturnType<
          typeof createClient<typeof ServerReflection>
        >)
      : createClient(ServerReflection, transport);
    for await (const response of client.serverReflectionInfo(requests())) {
      expect(response.originalRequest?.host).toBe('h');
      return response.messageResponse;
    }
    throw new Error('no answer');
  }

  test('health is told by Check, List and Watch, from one state', async () => {
    const { healthClient, health } = await setUp();
    expect((await healthClient.check({})).status).toBe(Status.NOT_SERVING);
    const seen: Status[] = [];
    const leaving = new AbortController();
    try {
      for await (const { status } of healthClient.watch(
        { service: agentService },
        { signal: leaving.signal },
      )) {
        seen.push(status);
        if (seen.length === 1) health.setServing(true);
        if (seen.length === 2) health.setServing(false);
        if (seen.length === 3) leaving.abort();
      }
    } catch {
      // Ended by us.
    }
    expect(seen).toEqual([Status.NOT_SERVING, Status.SERVING, Status.NOT_SERVING]);
    health.setServing(true);
    expect((await healthClient.check({ service: agentService })).status).toBe(Status.SERVING);
    expect(Object.keys((await healthClient.list({})).statuses)).toContain(agentService);
    await expect(healthClient.check({ service: 'nope' })).rejects.toThrow('no service "nope"');
    for await (const { status } of healthClient.watch({ service: 'nope' })) {
      expect(status).toBe(Status.SERVICE_UNKNOWN);
      break;
    }
  });

  test('a replica without a free call still answers Check', async () => {
    const fake = fakePipeline({ maxUnaryInFlight: 0 });
    const { healthClient } = await setUp(false, fake);
    expect((await healthClient.check({})).status).toBe(Status.NOT_SERVING);
  });

  test.each([false, true])(
    'reflection lists services and gives files with all imports (v1alpha: %s)',
    async (alpha) => {
      const { transport } = await setUp();
      const list = await ask(transport, { case: 'listServices', value: '' }, alpha);
      if (list.case !== 'listServicesResponse') throw new Error(list.case);
      expect(list.value.service.map(({ name }) => name)).toEqual([
        'grpc.health.v1.Health',
        'grpc.reflection.v1.ServerReflection',
        'grpc.reflection.v1alpha.ServerReflection',
        agentService,
        'mycosoft.orchestrator.agent.v1.SessionService',
      ]);
      for (const symbol of [
        agentService,
        `${agentService}.GetAgent`,
        'mycosoft.orchestrator.agent.v1.Agent.Phase',
      ]) {
        const found = await ask(transport, { case: 'fileContainingSymbol', value: symbol }, alpha);
        if (found.case !== 'fileDescriptorResponse') throw new Error(`${symbol}: ${found.case}`);
        const files = found.value.fileDescriptorProto.map((bytes) =>
          fromBinary(FileDescriptorProtoSchema, bytes),
        );
        const names = new Set(files.map(({ name }) => name));
        for (const file of files)
          for (const dependency of file.dependency) expect(names).toContain(dependency);
        expect(names).toContain('google/protobuf/timestamp.proto');
      }
    },
  );

  test('reflection answers every kind of question, also about what is not there', async () => {
    const { transport } = await setUp();
    const file = await ask(transport, {
      case: 'fileByFilename',
      value: 'mycosoft/orchestrator/agent/v1/session_service.proto',
    });
    expect(file.case).toBe('fileDescriptorResponse');
    const details = await ask(transport, { case: 'fileContainingSymbol', value: 'google.rpc.ErrorInfo' });
    expect(details.case).toBe('fileDescriptorResponse');
    const numbers = await ask(transport, {
      case: 'allExtensionNumbersOfType',
      value: 'grpc.health.v1.HealthCheckRequest',
    });
    expect(numbers).toMatchObject({ case: 'allExtensionNumbersResponse', value: { extensionNumber: [] } });
    const missing = [
      { case: 'fileByFilename', value: 'nope.proto' },
      { case: 'fileContainingSymbol', value: 'no.Such' },
      { case: 'allExtensionNumbersOfType', value: 'no.Such' },
      { case: 'fileContainingExtension', value: { containingType: 'no.Such', extensionNumber: 1 } },
    ] as const;
    for (const request of missing) {
      expect(await ask(transport, request as never)).toMatchObject({
        case: 'errorResponse',
        value: { errorCode: 5 },
      });
    }
    expect(await ask(transport, { case: undefined })).toMatchObject({
      case: 'errorResponse',
      value: { errorCode: 3 },
    });
  });

  test('a service that is turned off is neither listed nor serving', async () => {
    const { transport, health, healthClient } = await setUp(true);
    health.setServing(true);
    const list = await ask(transport, { case: 'listServices', value: '' });
    if (list.case !== 'listServicesResponse') throw new Error(list.case);
    expect(list.value.service.map(({ name }) => name)).not.toContain(agentService);
    expect((await healthClient.check({ service: agentService })).status).toBe(Status.NOT_SERVING);
    expect((await healthClient.check({})).status).toBe(Status.SERVING);
  });
});

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  RegisterAgentRequestSchema,
  RegisterAgentResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  DeliveryUpdate_State,
  OpenSessionRequestSchema,
  OpenSessionResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { CallAgentRequestSchema } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { GrpcReader, grpcHeaders, grpcUnary, H2Client } from '../../test/support/h2-client.ts';
import { quantile } from '../figures.ts';
import { cpuUs } from '../process-stats.ts';
import { echoOffset, heartbeatFor } from './frames.ts';
import type { CallLoad, CallResult } from './protocol.ts';

const OPEN_SESSION = '/mycosoft.orchestrator.agent.v1.SessionService/OpenSession';
const REGISTER = '/mycosoft.orchestrator.agent.v1.AgentService/RegisterAgent';
const CALL = '/mycosoft.orchestrator.coordination.v1.MessageService/CallAgent';

/** Callers, each with one call under way, or all together at a rate. */
export async function runCalls(load: CallLoad): Promise<CallResult> {
  const ends = load.carrier === 'session' ? await sessionEnds(load) : await natsEnds(load);
  const times: number[] = [];
  const fromMs = performance.now() + load.warmupMs;
  const toMs = fromMs + load.durationMs;
  const intervalMs = load.ratePerSecond === 0 ? 0 : (1000 / load.ratePerSecond) * load.pairs;
  const caller = async (index: number): Promise<void> => {
    let dueMs = performance.now() + (intervalMs * index) / load.pairs;
    while (performance.now() < toMs) {
      const waitMs = dueMs - performance.now();
      if (intervalMs > 0 && waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      dueMs += intervalMs;
      const startMs = performance.now();
      await ends.call(index);
      const endMs = performance.now();
      if (startMs >= fromMs && endMs < toMs) times.push(endMs - startMs);
    }
  };
  const watched = () => load.watch.map(cpuUs);
  const before = new Promise<number[]>((resolve) => {
    setTimeout(() => resolve(watched()), load.warmupMs);
  });
  await Promise.all(Array.from({ length: load.pairs }, (_, index) => caller(index)));
  const after = watched();
  const used = (await before).map((us, index) => (after[index] ?? us) - us);
  await ends.close();
  return {
    answered: times.length,
    elapsedMs: load.durationMs,
    cpuUs: used,
    times: { p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99) },
  };
}

interface Ends {
  /** Resolves with the answer; rejects if there is none. */
  call(caller: number): Promise<void>;
  close(): void | Promise<void>;
}

async function sessionEnds(load: CallLoad): Promise<Ends> {
  const colon = load.address.lastIndexOf(':');
  const place = { host: load.address.slice(0, colon), port: Number(load.address.slice(colon + 1)) };
  const connections: H2Client[] = [];
  const connect = async (): Promise<H2Client> => {
    const client = new H2Client(place);
    connections.push(client);
    await client.connected();
    return client;
  };
  const setup = await connect();
  const data = { case: 'binary' as const, value: new Uint8Array(load.payloadBytes).fill(120) };
  for (let index = 0; index < load.pairs; index += 1) {
    const agentId = `callee-${index}`;
    const token = load.register ? await register(setup, load.address, agentId) : 'none';
    await answerCalls(await connect(), load.address, agentId, token, data);
  }
  const headers = grpcHeaders(CALL, load.address);
  const callers = await Promise.all(Array.from({ length: load.pairs }, connect));
  const requests = Array.from({ length: load.pairs }, (_, index) => {
    const message = { id: `call-${index}`, type: 'bench.call', data: { data } };
    const to = { case: 'agentId' as const, value: `callee-${index}` };
    return toBinary(CallAgentRequestSchema, create(CallAgentRequestSchema, { send: { to, message } }));
  });
  return {
    call: async (index) => {
      const [client, request] = [callers[index], requests[index]];
      if (client === undefined || request === undefined) throw new Error('there is no such caller');
      if ((await grpcUnary(client, headers, request)) === undefined) throw new Error('a call was refused');
    },
    close: () => {
      for (const client of connections) client.close();
    },
  };
}

async function register(setup: H2Client, address: string, agentId: string): Promise<string> {
  const request = create(RegisterAgentRequestSchema, { agentId, spec: { kind: 'bench' } });
  const answer = await grpcUnary(
    setup,
    grpcHeaders(REGISTER, address),
    toBinary(RegisterAgentRequestSchema, request),
  );
  if (answer === undefined) throw new Error(`registration of ${agentId} was refused`);
  return fromBinary(RegisterAgentResponseSchema, answer).agentToken;
}

/** Attaches an agent that answers every call at once. */
async function answerCalls(
  client: H2Client,
  address: string,
  agentId: string,
  token: string,
  data: { case: 'binary'; value: Uint8Array },
): Promise<void> {
  const hello = create(OpenSessionRequestSchema, {
    frame: { case: 'hello', value: { maxInFlight: 256, instanceId: agentId, client: 'bench/1' } },
  });
  const headers = grpcHeaders(OPEN_SESSION, address, { authorization: `Bearer ${token}` });
  await new Promise<void>((resolve) => {
    let stream = 0;
    const reader = new GrpcReader({
      onMessage: (bytes) => {
        const echo = echoOffset(bytes);
        if (echo >= 0) {
          client.send(stream, heartbeatFor(bytes, echo));
          return;
        }
        const { frame } = fromBinary(OpenSessionResponseSchema, bytes);
        if (frame.case === 'welcome') resolve();
        if (frame.case !== 'delivery' || frame.value.work === undefined) return;
        const value = { work: frame.value.work, state: DeliveryUpdate_State.SUCCEEDED, output: { data } };
        const update = create(OpenSessionRequestSchema, { frame: { case: 'deliveryUpdate', value } });
        client.send(stream, toBinary(OpenSessionRequestSchema, update));
      },
    });
    stream = client.open(
      headers,
      { data: (bytes) => reader.read(bytes), end: () => {} },
      toBinary(OpenSessionRequestSchema, hello),
    );
  });
}

async function natsEnds(load: CallLoad): Promise<Ends> {
  const { connect } = await import('@nats-io/transport-node');
  const open = () => connect({ servers: load.address });
  const data = Buffer.alloc(load.payloadBytes, 'x');
  const callees = await Promise.all(Array.from({ length: load.pairs }, open));
  for (const [index, connection] of callees.entries()) {
    connection.subscribe(`call.${index}`, { callback: (_error, message) => void message.respond(data) });
    await connection.flush();
  }
  const callers = await Promise.all(Array.from({ length: load.pairs }, open));
  return {
    call: async (index) => {
      await callers[index]?.request(`call.${index}`, data, { timeout: 10_000 });
    },
    close: async () => {
      for (const connection of [...callers, ...callees]) await connection.close();
    },
  };
}

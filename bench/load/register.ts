import { randomUUID } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { RegisterAgentRequestSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { grpcHeaders, grpcUnary, H2Client } from '../../test/support/h2-client.ts';
import { quantile } from '../figures.ts';
import type { RegisterLoad, RegisterResult } from './protocol.ts';

/** Registers new agents in a closed loop: each client waits for its acknowledgement before the next call. */
export async function registerAgents(load: RegisterLoad): Promise<RegisterResult> {
  const colon = load.address.lastIndexOf(':');
  const host = load.address.slice(0, colon);
  const port = Number(load.address.slice(colon + 1));
  const path = '/mycosoft.orchestrator.agent.v1.AgentService/RegisterAgent';
  const headers = grpcHeaders(path, load.address);
  const latencies: number[] = [];
  const run = randomUUID().slice(0, 8);
  let failed = 0;
  const measureFrom = performance.now() + load.warmupMs;
  const end = measureFrom + load.durationMs;

  const client = async (lane: number) => {
    const connection = new H2Client({ host, port });
    await connection.connected();
    for (let count = 0; performance.now() < end; count++) {
      const request = create(RegisterAgentRequestSchema, {
        agentId: `${run}-${lane}-${count}`,
        spec: { kind: 'bench', capabilities: [{ name: 'echo' }], labels: { tier: 'bench' } },
      });
      const startedMs = performance.now();
      const answer = await grpcUnary(connection, headers, toBinary(RegisterAgentRequestSchema, request));
      const endedMs = performance.now();
      if (answer === undefined) failed++;
      else if (startedMs >= measureFrom && endedMs <= end) latencies.push(endedMs - startedMs);
      if (answer === undefined && connection.socket.destroyed) break;
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: load.clients }, (_, lane) => client(lane)));
  return {
    acknowledged: latencies.length,
    failed,
    elapsedMs: load.durationMs,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
}

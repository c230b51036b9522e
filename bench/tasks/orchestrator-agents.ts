import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  RegisterAgentRequestSchema,
  RegisterAgentResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { OpenSessionRequestSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { GrpcReader, grpcHeaders, grpcUnary, H2Client } from '../../test/support/h2-client.ts';
import { echoOffset, heartbeatFor } from '../load/frames.ts';
import { ACCEPTED, hear, SUCCEEDED, update } from './frames.ts';
import { placeOf } from './place.ts';
import type { OpenWorkers } from './protocol.ts';
import type { Workers, WorkListener } from './workers.ts';

const OPEN_SESSION = '/mycosoft.orchestrator.agent.v1.SessionService/OpenSession';
const REGISTER = '/mycosoft.orchestrator.agent.v1.AgentService/RegisterAgent';
/** So many tasks more than its slots would fit into an agent's CPU: slots bind. */
const CPU_MILLI = 1000n;

/** Agents on sessions of their own, each on a connection of its own. */
export class OrchestratorAgents implements Workers {
  readonly #load: OpenWorkers;

  constructor(load: OpenWorkers) {
    this.#load = load;
  }

  async open(listener: WorkListener): Promise<void> {
    const setup = new H2Client(placeOf(this.#load.address));
    await setup.connected();
    for (let index = 0; index < this.#load.workers; index += 1) {
      const agentId = `agent-${index}`;
      await this.#attach(agentId, await this.#register(setup, agentId), listener);
    }
    setup.close();
  }

  async #register(setup: H2Client, agentId: string): Promise<string> {
    const { address, slots } = this.#load;
    const capacity = { slots: BigInt(slots), cpu_milli: CPU_MILLI };
    const spec = { kind: 'bench', capabilities: [{ name: 'bench' }], capacity };
    const request = create(RegisterAgentRequestSchema, { agentId, spec });
    const bytes = toBinary(RegisterAgentRequestSchema, request);
    const answer = await grpcUnary(setup, grpcHeaders(REGISTER, address), bytes);
    if (answer === undefined) throw new Error(`registration of ${agentId} was refused`);
    return fromBinary(RegisterAgentResponseSchema, answer).agentToken;
  }

  async #attach(agentId: string, token: string, listener: WorkListener): Promise<void> {
    const { address, slots, accepts } = this.#load;
    const client = new H2Client(placeOf(address));
    await client.connected();
    const value = { maxInFlight: 2 * slots, instanceId: agentId, client: 'bench/1' };
    const hello = create(OpenSessionRequestSchema, { frame: { case: 'hello', value } });
    const headers = grpcHeaders(OPEN_SESSION, address, { authorization: `Bearer ${token}` });
    /** What was accepted and is not done, by number. */
    const works = new Map<number, Buffer>();
    let stream = 0;
    const heard = (frame: Buffer): void => {
      const said = hear(frame);
      if (said.kind === 'delivery') {
        listener.began(said.number);
        if (accepts) works.set(said.number, Buffer.from(said.work));
        client.send(stream, update(said.number, said.work, accepts ? ACCEPTED : SUCCEEDED));
      } else if (said.kind === 'result') {
        if (!said.ok) listener.failed(`refused: ${frame.toString('latin1')}`);
        else if (said.said === SUCCEEDED) listener.over(said.number);
        else {
          listener.running(said.number);
          const work = works.get(said.number);
          works.delete(said.number);
          if (work !== undefined) client.send(stream, update(said.number, work, SUCCEEDED));
        }
      } else if (said.kind === 'revoke') {
        listener.failed(`${agentId} lost work`);
      }
    };
    await new Promise<void>((resolve) => {
      const reader = new GrpcReader({
        onMessage: (frame) => {
          resolve();
          const echo = echoOffset(frame);
          if (echo >= 0) client.send(stream, heartbeatFor(frame, echo));
          else heard(frame);
        },
      });
      const end = (): void => listener.failed(`the session of ${agentId} ended`);
      const first = toBinary(OpenSessionRequestSchema, hello);
      stream = client.open(headers, { data: (bytes) => reader.read(bytes), end }, first);
    });
  }
}

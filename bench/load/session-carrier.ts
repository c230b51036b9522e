import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  RegisterAgentRequestSchema,
  RegisterAgentResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { OpenSessionRequestSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { GrpcReader, grpcHeaders, grpcUnary, H2Client } from '../../test/support/h2-client.ts';
import { echoOffset, heartbeatFor } from './frames.ts';
import { hear, SendTemplate, succeeded } from './message-frames.ts';
import type { MessageLoad } from './protocol.ts';
import type { Carrier, CarrierListener } from './traffic.ts';

const OPEN_SESSION = '/mycosoft.orchestrator.agent.v1.SessionService/OpenSession';
const REGISTER = '/mycosoft.orchestrator.agent.v1.AgentService/RegisterAgent';

const sender = (index: number): string => `sender-${index}`;
const receiver = (index: number): string => `receiver-${index}`;

interface Line {
  client: H2Client;
  stream: number;
}

/** Agents on sessions: half of them send, half receive, each on a connection of its own. */
export class SessionCarrier implements Carrier {
  readonly #load: MessageLoad;
  readonly #senders: Line[] = [];
  readonly #receivers: Line[] = [];
  readonly #templates: SendTemplate[] = [];
  #closing = false;

  constructor(load: MessageLoad) {
    this.#load = load;
  }

  async open(listener: CarrierListener): Promise<void> {
    const { pairs, payloadBytes } = this.#load;
    const setup = this.#connect();
    await setup.connected();
    for (let index = 0; index < pairs; index += 1) {
      this.#templates.push(new SendTemplate(receiver(index), payloadBytes));
      this.#receivers.push(await this.#attach(setup, receiver(index), listener, true));
      this.#senders.push(await this.#attach(setup, sender(index), listener, false));
    }
    setup.close();
  }

  send(number: number, from: number, to: number): void {
    const line = this.#senders[from];
    const template = this.#templates[to];
    if (line === undefined || template === undefined) throw new Error('there is no such pair');
    line.client.send(line.stream, template.frame(number));
  }

  close(): void {
    this.#closing = true;
    for (const { client } of [...this.#senders, ...this.#receivers]) client.close();
  }

  #connect(): H2Client {
    const colon = this.#load.address.lastIndexOf(':');
    return new H2Client({
      host: this.#load.address.slice(0, colon),
      port: Number(this.#load.address.slice(colon + 1)),
    });
  }

  async #register(setup: H2Client, agentId: string): Promise<string> {
    if (!this.#load.register) return 'none';
    const request = create(RegisterAgentRequestSchema, { agentId, spec: { kind: 'bench' } });
    const headers = grpcHeaders(REGISTER, this.#load.address);
    const answer = await grpcUnary(setup, headers, toBinary(RegisterAgentRequestSchema, request));
    if (answer === undefined) throw new Error(`registration of ${agentId} was refused`);
    return fromBinary(RegisterAgentResponseSchema, answer).agentToken;
  }

  async #attach(
    setup: H2Client,
    agentId: string,
    listener: CarrierListener,
    receives: boolean,
  ): Promise<Line> {
    const token = await this.#register(setup, agentId);
    const client = this.#connect();
    await client.connected();
    const value = { maxInFlight: 256, features: ['messages/1'], instanceId: agentId, client: 'bench/1' };
    const hello = create(OpenSessionRequestSchema, { frame: { case: 'hello', value } });
    const headers = grpcHeaders(OPEN_SESSION, this.#load.address, { authorization: `Bearer ${token}` });
    let stream = 0;
    await new Promise<void>((resolve) => {
      const reader = new GrpcReader({
        onMessage: (frame) => {
          resolve();
          const echo = echoOffset(frame);
          if (echo >= 0) client.send(stream, heartbeatFor(frame, echo));
          else this.#heard(frame, { client, stream }, listener, receives);
        },
      });
      const end = (): void => {
        if (!this.#closing) listener.failed(`the session of ${agentId} ended`);
      };
      stream = client.open(
        headers,
        { data: (bytes) => reader.read(bytes), end },
        toBinary(OpenSessionRequestSchema, hello),
      );
    });
    return { client, stream };
  }

  #heard(frame: Buffer, { client, stream }: Line, listener: CarrierListener, receives: boolean): void {
    const heard = hear(frame);
    if (heard.kind === 'delivery') {
      listener.received(heard.number);
      client.send(stream, succeeded(heard.number, heard.work));
    } else if (heard.kind === 'result') {
      if (!heard.ok) listener.failed(`refused: ${frame.toString('latin1')}`);
      else if (receives) listener.acknowledged(heard.number);
      else listener.stored(heard.number);
    }
  }
}

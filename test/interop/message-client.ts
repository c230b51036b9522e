import { randomUUID } from 'node:crypto';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { MessageService } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { fromPayload, toPayload } from '../../src/client/payloads.ts';

/** Calls and messages from outside of the fleet, as an operator makes them. */
export class MessageClient {
  readonly messages: Client<typeof MessageService>;
  readonly #session: Http2SessionManager;

  constructor(address: string) {
    const baseUrl = `http://${address}`;
    this.#session = new Http2SessionManager(baseUrl);
    const transport = createGrpcTransport({ baseUrl, sessionManager: this.#session });
    this.messages = createClient(MessageService, transport);
  }

  /** Asks an agent of the pair examples; the answer says which way the question went. */
  async ask(agentId: string, hops: number, timeoutMs = 10_000): Promise<unknown> {
    const { output } = await this.messages.callAgent(
      { send: messageTo(agentId, 'ask', { hops }) },
      { timeoutMs },
    );
    return fromPayload(output);
  }

  async greet(agentId: string, text: string): Promise<void> {
    await this.messages.sendMessage({ send: messageTo(agentId, 'greeting', text) });
  }

  close(): void {
    this.#session.abort();
  }
}

function messageTo(agentId: string, type: string, content: unknown) {
  const data = toPayload(content);
  const message = { id: randomUUID(), source: 'test', type, ...(data === undefined ? {} : { data }) };
  return { message, to: { case: 'agentId', value: agentId } } as const;
}

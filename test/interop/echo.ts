import { type AgentHandle, connectAgent } from '../../src/client/index.ts';

export const MESSAGES = 'mycosoft.orchestrator.coordination.v1.MessageService';

/** An agent that answers calls with what they hold. */
export function startEcho(server: string, id: string): Promise<AgentHandle> {
  return connectAgent({
    server,
    id,
    spec: { kind: 'echo', capabilities: [{ name: 'echo' }] },
    maxInFlight: 8,
    onCall: { echo: ({ data }) => data },
    onMessage: { '*': () => {} },
  });
}

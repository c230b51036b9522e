import { AgentCalls } from './calls.ts';
import { Handlers } from './handlers.ts';
import { SDK_VERSION } from './hello.ts';
import { AgentLocks } from './locks.ts';
import { MessageDesk } from './message-desk.ts';
import { AgentMessages, type AgentMessagesOptions } from './messages.ts';
import type { ClientLogger, ConnectAgentOptions } from './options.ts';
import { SharedState } from './shared-state.ts';
import { Subscriptions } from './subscriptions.ts';
import { messageTracing } from './tracing.ts';

/** What an agent says to others and shares with them, wired together. */
export function createCoordination(options: {
  agent: { id: string; leaseSignal: AbortSignal; namespace: string };
  handlers: Pick<ConnectAgentOptions, 'onMessage' | 'onCall' | 'maxInFlight'>;
  session: AgentMessagesOptions['session'];
  transmit: AgentMessagesOptions['transmit'];
  timeoutMs: number;
  log: ClientLogger;
}) {
  const { agent, timeoutMs, log, session, transmit } = options;
  const { namespace } = agent;
  const tracing = messageTracing(SDK_VERSION);
  const calls = new AgentCalls({ timeoutMs });
  const handlers = new Handlers(options.handlers);
  return {
    calls,
    handlers,
    shared: new SharedState({ calls, namespace }),
    locks: new AgentLocks({
      calls,
      namespace,
      log,
      holder: () => agent.id,
      lease: () => agent.leaseSignal,
    }),
    messages: new AgentMessages({ calls, namespace, transmit, session, tracing }),
    subscriptions: new Subscriptions({
      calls,
      namespace,
      agentId: () => agent.id,
      topics: handlers.topics,
      log,
    }),
    messageDesk: new MessageDesk({
      handlers,
      maxInFlight: options.handlers.maxInFlight ?? 1,
      lease: () => agent.leaseSignal,
      tracing,
      onError: (error, delivery) => log.warn({ err: error, delivery }, 'the handler of a message failed'),
    }),
  };
}

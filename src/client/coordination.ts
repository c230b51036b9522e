import { AgentCalls } from './calls.ts';
import { Handlers } from './handlers.ts';
import { concurrencyOf, SDK_VERSION } from './hello.ts';
import { AgentLocks } from './locks.ts';
import { MessageDesk } from './message-desk.ts';
import { AgentMessages, type AgentMessagesOptions } from './messages.ts';
import type { ClientLogger, ConnectAgentOptions } from './options.ts';
import { SharedState } from './shared-state.ts';
import { Subscriptions } from './subscriptions.ts';
import { TaskDesk } from './task-desk.ts';
import { Tasks } from './tasks.ts';
import { messageTracing } from './tracing.ts';

/** What an agent says to others and shares with them, wired together. */
export function createCoordination(options: {
  agent: { id: string; leaseSignal: AbortSignal; namespace: string };
  handlers: Pick<
    ConnectAgentOptions,
    'onMessage' | 'onCall' | 'onTask' | 'declineTask' | 'maxInFlight' | 'concurrency' | 'spec'
  >;
  session: AgentMessagesOptions['session'];
  transmit: AgentMessagesOptions['transmit'];
  timeoutMs: number;
  log: ClientLogger;
}) {
  const { agent, timeoutMs, log, session, transmit } = options;
  const { namespace } = agent;
  const tracing = messageTracing(SDK_VERSION, () => agent.id);
  const calls = new AgentCalls({ timeoutMs });
  const handlers = new Handlers(options.handlers);
  const tasks = new Tasks({ calls, namespace });
  const lease = () => agent.leaseSignal;
  return {
    calls,
    handlers,
    tasks,
    shared: new SharedState({ calls, namespace }),
    locks: new AgentLocks({
      calls,
      namespace,
      log,
      holder: () => agent.id,
      lease,
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
      lease,
      tracing,
      onError: (error, delivery) => log.warn({ err: error, delivery }, 'the handler of a message failed'),
    }),
    taskDesk: new TaskDesk({
      handlers: handlers.tasks,
      concurrency: concurrencyOf(options.handlers),
      decline: options.handlers.declineTask ?? (() => undefined),
      lease,
      tracing,
      submit: (task, limits) => tasks.submit(task, limits),
      onError: (error, delivery) => log.warn({ err: error, delivery }, 'the handler of a task failed'),
      onDropped: (error, delivery) =>
        log.warn({ err: error, delivery }, 'what came of a task was not taken, and is dropped'),
    }),
  };
}

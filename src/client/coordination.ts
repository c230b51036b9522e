import { AgentCalls } from './calls.ts';
import { AgentLocks } from './locks.ts';
import type { ClientLogger } from './options.ts';
import { SharedState } from './shared-state.ts';

/** What an agent shares with others, wired together. */
export function createCoordination(options: {
  agent: { id: string; leaseSignal: AbortSignal; namespace: string };
  timeoutMs: number;
  log: ClientLogger;
}) {
  const { agent, timeoutMs, log } = options;
  const { namespace } = agent;
  const calls = new AgentCalls({ timeoutMs });
  return {
    calls,
    shared: new SharedState({ calls, namespace }),
    locks: new AgentLocks({
      calls,
      namespace,
      log,
      holder: () => agent.id,
      lease: () => agent.leaseSignal,
    }),
  };
}

import { AgentPool, type AgentPoolOptions } from '../../../../src/domain/resource/pool/agent-pool.ts';
import type { PoolAgent } from '../../../../src/domain/resource/pool/types.ts';

/** With capability "render", there, in no zone. */
export function anAgent(id: string, capacity: Record<string, number> = {}): PoolAgent {
  return {
    ...{ id, uid: `uid-${id}`, labels: {}, zone: '', capacity, available: true, unavailableWhy: '' },
    capabilities: [{ name: 'render', version: '1.4.0' }],
  };
}

export function newPool(agents: readonly PoolAgent[], options: Partial<AgentPoolOptions> = {}): AgentPool {
  const pool = new AgentPool({
    overcommit: {},
    defaultSlots: 2,
    defaultStrategy: 'least_loaded',
    ...options,
  });
  for (const agent of agents) pool.setAgent(agent);
  return pool;
}

import { Relationship_Type } from '../../../src/client/index.ts';
import { labels, live, pause, type Simulation, type Spec } from '../simulation.ts';

interface Role {
  id: string;
  kind: string;
  capability: string;
  activity: string;
  dependsOn?: readonly string[];
}

const roles: readonly Role[] = [
  { id: 'supervisor-1', kind: 'supervisor', capability: 'supervise', activity: 'supervising' },
  { id: 'retriever-1', kind: 'retriever', capability: 'retrieve', activity: 'retrieving' },
  { id: 'retriever-2', kind: 'retriever', capability: 'retrieve', activity: 'retrieving' },
  { id: 'summarizer-1', kind: 'summarizer', capability: 'summarize', activity: 'summarizing' },
  { id: 'summarizer-2', kind: 'summarizer', capability: 'summarize', activity: 'summarizing' },
  {
    id: 'planner-1',
    kind: 'planner',
    capability: 'plan',
    activity: 'planning',
    dependsOn: ['retriever-1', 'summarizer-1'],
  },
];

/** Agents as they should be: they answer, they progress, their load goes up and down. */
export const steady: readonly Simulation[] = roles.map((role, index) => ({
  id: role.id,
  shows: 'healthy: answers, progresses, moderate load',
  run: (world) =>
    live(world, role.id, { spec: specOf(role) }, async (agent) => {
      for (let step = 0; !world.stop.aborted; step++) {
        const load = 0.4 + 0.25 * Math.sin(step / 7 + index);
        agent.report({ activity: role.activity, load, usage: { slots: Math.round(load * 8) } });
        agent.progress(role.activity, step);
        world.say(`${role.activity}, item ${step}, load ${load.toFixed(2)}`);
        await pause(2, world);
      }
    }),
}));

function specOf(role: Role): Spec {
  return {
    displayName: role.id.replace('-', ' '),
    kind: role.kind,
    version: '1.4.0',
    capabilities: [{ name: role.capability, version: '1', inputTypes: ['text/plain'] }],
    labels: labels({ tier: role.kind === 'supervisor' ? 'control' : 'work' }),
    relationships: [
      ...(role.dependsOn ?? []).map((agentId) => ({ type: Relationship_Type.DEPENDS_ON, agentId })),
      ...(role.id === 'supervisor-1'
        ? []
        : [{ type: Relationship_Type.SUPERVISED_BY, agentId: 'supervisor-1' }]),
    ],
    capacity: { slots: 8n, cpu_milli: 2_000n, memory_bytes: 4n << 30n },
    activities: [{ name: role.activity, progressBudget: { seconds: 30n } }],
  };
}

import { labels, live, pause, type Simulation } from '../simulation.ts';

/** Agents with more to do than they can: no headroom, so less than full health. */
export const overloaded: readonly Simulation[] = ['busy-1', 'busy-2'].map((id, index) => ({
  id,
  shows: 'no headroom: load near 1, all slots used',
  run: (world) => {
    const spec = {
      kind: 'renderer',
      capabilities: [{ name: 'render' }],
      labels: labels(),
      capacity: { slots: 4n, gpu: 1n },
      activities: [{ name: 'rendering', progressBudget: { seconds: 60n } }],
    };
    return live(world, id, { spec }, async (agent) => {
      for (let frames = 0; !world.stop.aborted; frames++) {
        const load = 0.92 + 0.08 * index;
        agent.report({ activity: 'rendering', load, usage: { slots: 4, gpu: 1 } });
        agent.progress('frames', frames);
        world.say(`rendering frame ${frames} at load ${load.toFixed(2)}`);
        await pause(1, world);
      }
    });
  },
}));

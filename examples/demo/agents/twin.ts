import { attach, labels, pause, type Simulation } from '../simulation.ts';

/** Started twice by mistake: the second process supersedes the first, which is told not to come back. */
export const twin: Simulation = {
  id: 'twin-1',
  shows: 'a twin: each 20 s another process takes the id over; see the events',
  run: async (world) => {
    const spec = { kind: 'scheduler', labels: labels(), capabilities: [{ name: 'schedule' }] };
    let current = await attach(world, 'twin-1', { spec });
    for (let process = 1; ; process++) {
      world.say(`process ${process} holds the session, epoch ${current.epoch}`);
      await pause(20, world);
      if (world.stop.aborted) break;
      const next = await attach(world, 'twin-1', { spec });
      await current.closed; // superseded, without a time to come back
      current = next;
    }
    await current.leave('the demo ended');
  },
};
